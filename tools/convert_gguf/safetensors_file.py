"""Writes float32 tensors as one .safetensors file, one tensor in memory at a time."""

import json
import math
import os

_ALIGNMENT = 64  # of the first tensor, so that a mapped file can be read with wide loads


def data_bytes(weights):
    return sum(4 * math.prod(weight.shape) for weight in weights)


def write(path, weights, on_progress):
    """weights: objects with name, shape and values(). on_progress(done, total) after each."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for weight in weights:
        begin, end = end, end + 4 * math.prod(weight.shape)
        header[weight.name] = {"dtype": "F32", "shape": weight.shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for done, weight in enumerate(weights, start=1):
            file.write(memoryview(weight.values()).cast("B"))
            on_progress(done, len(weights))
        file.flush()
        os.fsync(file.fileno())
