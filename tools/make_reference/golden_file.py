"""Writes a golden file: JSON, one array of numbers a line, the same bytes for the same content."""

import json
import os
import pathlib


def write(path, content):
    path = pathlib.Path(path)
    staging = path.with_name(f".{path.name}.partial")
    staging.write_text(_render(content, 0) + "\n", encoding="utf-8")
    os.replace(staging, path)


def _render(value, depth):
    if not isinstance(value, (dict, list)) or not value or _is_flat(value):
        return json.dumps(value, ensure_ascii=False)
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        items = [f"{pad}{json.dumps(key)}: {_render(item, depth + 1)}"
                 for key, item in value.items()]
        return "{\n" + ",\n".join(items) + "\n" + " " * depth + "}"
    items = [pad + _render(item, depth + 1) for item in value]
    return "[\n" + ",\n".join(items) + "\n" + " " * depth + "]"


def _is_flat(value):
    return isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value)
