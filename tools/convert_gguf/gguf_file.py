"""Opens a GGUF file and hands out its metadata by type. Everything in the file is untrusted."""

import math
import pathlib

import gguf
import numpy

from .errors import ConvertError

# Tensor types that convert.py turns into float32, exactly as ggml defines them.
SUPPORTED_TYPES = frozenset(
    ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
     "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"))


class GgufFile:
    """A checked GGUF file: readable metadata, known tensor types, tensors inside the file."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.reader = _open(self.path)
        self.tensors = {t.name: t for t in self.reader.tensors}
        if self.number("split.count", 1) > 1:
            raise ConvertError(f"{self.path}: this is one part of a split GGUF; join the parts "
                               "with gguf-split --merge first")
        for tensor in self.reader.tensors:
            self._check_tensor(tensor)

    @property
    def architecture(self):
        name = self.text("general.architecture", None)
        if name is None:
            raise ConvertError(f"{self.path}: key general.architecture is missing")
        return name

    def number(self, key, default):
        """An integer or float; `default` when the key is absent."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConvertError(f"{self.path}: key {key} must be a number, it is {value!r:.60}")
        if not math.isfinite(value):
            raise ConvertError(f"{self.path}: key {key} is {value}, not a finite number")
        return value

    def required(self, key):
        value = self.number(key, None)
        if value is None:
            raise ConvertError(f"{self.path}: key {key} is missing")
        return value

    def decimal(self, key, default):
        """A float32 as the shortest decimal that reads back to it: 9.999999747e-06 is 1e-05."""
        value = self.number(key, None)
        return default if value is None else float(str(numpy.float32(value)))

    def text(self, key, default):
        value = self._value(key)
        if value is not None and not isinstance(value, str):
            raise ConvertError(f"{self.path}: key {key} must be a string, it is {value!r:.60}")
        return default if value is None else value

    def _value(self, key):
        field = self.reader.get_field(key)
        return None if field is None else field.contents()

    def _check_tensor(self, tensor):
        where = f"{self.path}: tensor {tensor.name}"
        if tensor.tensor_type.name not in SUPPORTED_TYPES:
            raise ConvertError(f"{where} has type {tensor.tensor_type.name}, which is not "
                               f"supported (supported: {', '.join(sorted(SUPPORTED_TYPES))})")
        elements = math.prod(int(n) for n in tensor.shape)
        if elements != tensor.n_elements or elements == 0:
            raise ConvertError(f"{where} has an impossible shape {tensor.shape.tolist()}")
        if tensor.data_offset + tensor.n_bytes > self.path.stat().st_size:
            raise ConvertError(f"{where} ends past the end of the file; is the download complete?")


def _open(path):
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ConvertError(f"cannot read {path}: {error.strerror}") from None
    if magic != b"GGUF":
        raise ConvertError(f"{path} is not a GGUF file (it does not begin with the bytes GGUF)")
    try:
        return gguf.GGUFReader(path)
    except Exception as error:  # The reader raises whatever NumPy does on a damaged file.
        raise ConvertError(f"{path} is damaged or cut short: {type(error).__name__}: "
                           f"{str(error).splitlines()[0] if str(error) else ''}") from None
