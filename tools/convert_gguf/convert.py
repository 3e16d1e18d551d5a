"""One conversion, all or nothing: the output folder appears complete or not at all."""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile

from . import config_json, gguf_tokenizer, safetensors_file, weights
from .errors import ConvertError
from .gguf_file import GgufFile

_SPARE_BYTES = 64 << 20  # room for tokenizer.json and the small files


def convert(source_path, out_dir, on_progress):
    """Writes out_dir from the GGUF at source_path. on_progress(done, total) counts tensors."""
    out_dir = pathlib.Path(os.path.abspath(out_dir))
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise ConvertError(f"{out_dir} exists and is not an empty folder; remove it or choose "
                           "another")
    source = GgufFile(source_path)
    config = config_json.model_config(source)
    tensors = weights.list_weights(source, config)
    tokenizer, tokenizer_config = _tokenizer(source)
    _check_disk(out_dir, safetensors_file.data_bytes(tensors) + _SPARE_BYTES)
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        staging = pathlib.Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    except OSError as error:
        raise ConvertError(f"cannot write to {out_dir.parent}: {error.strerror}") from None
    try:
        _write_json(staging / "config.json", config)
        _write_json(staging / "generation_config.json", config_json.generation_config(source))
        _write_json(staging / "tokenizer.json", tokenizer)
        _write_json(staging / "tokenizer_config.json", tokenizer_config)
        _write_json(staging / "headgate.json", {
            "weights": weights.packing(source),
            "source": {"file": source.path.name, "sha256": _sha256(source.path)},
        })
        safetensors_file.write(staging / "model.safetensors", tensors, on_progress)
        staging.chmod(0o777 & ~_umask())
        os.rename(staging, out_dir)
    except OSError as error:
        raise ConvertError(f"cannot write {out_dir}: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _tokenizer(source):
    try:
        return (gguf_tokenizer.tokenizer_json(source.reader),
                gguf_tokenizer.tokenizer_config(source.reader))
    except ValueError as error:
        raise ConvertError(f"{source.path}: {error}") from None


def _check_disk(out_dir, need_bytes):
    folder = out_dir.parent
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < need_bytes:
        raise ConvertError(f"{folder} has {free_bytes >> 20} MiB free, the model needs "
                           f"{need_bytes >> 20} MiB; free some or choose another folder")


def _write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
