#!/usr/bin/env python3
"""Joins the measurements of one session on the GPU machine into one JSON.

    report.py PARTS_DIR COMMAND COMMIT OUT [NAME=PART:PATH/PART:PATH ...]

PARTS_DIR/PART.json becomes "rows" -> PART; a part that is no JSON is named and left out. A ratio is
of two numbers, each named by its part and the keys and indices to it with dots between (steps.0.us);
where one lacks it is null. It may run after every measurement: OUT is always whole.
"""
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time


def device(folder):
    """Asked once a session: the answer is kept in the folder of parts."""
    kept = folder / "device.txt"
    if not kept.exists():
        try:
            asked = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version",
                                    "--format=csv,noheader"], capture_output=True, text=True)
            name = asked.stdout.strip() or "unknown"
        except OSError:
            name = "unknown"
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(name)
    return kept.read_text()


def seconds(folder):
    """Since the session began; None when it did not say so."""
    begun = folder / "begun"
    return round(time.time() - begun.stat().st_mtime) if begun.exists() else None


def head(command, commit, folder):
    """What every report begins with."""
    return {"commit": commit, "date": datetime.date.today().isoformat(), "command": command,
            "device": device(folder), "seconds": seconds(folder)}


def read_parts(folder):
    parts = {}
    for file in sorted(folder.glob("*.json")):
        try:
            parts[file.stem] = json.loads(file.read_text())
        except ValueError as error:
            print(f"{file.name} is left out, it is no JSON: {error}", file=sys.stderr)
    return parts


def write(out, report):
    """Replaces the file at once: who is killed leaves the one before."""
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(part, out)
    print(f"wrote {out}")


def at(value, keys):
    """The number at these keys and indices; None where there is none."""
    for key in keys:
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (TypeError, KeyError, IndexError, ValueError):
            return None
    return value if isinstance(value, (int, float)) else None


def number(rows, name):
    part, path = name.split(":")
    return at(rows, [part, *path.split(".")])


def ratio(rows, spec):
    name, terms = spec.split("=")
    above, below = (number(rows, term) for term in terms.split("/"))
    return name, above / below if above is not None and below else None


def main():
    folder, command, commit, out = sys.argv[1:5]
    rows = read_parts(pathlib.Path(folder))
    report = head(command, commit, pathlib.Path(folder)) | {"rows": rows}
    if len(sys.argv) > 5:
        report["ratios"] = dict(ratio(rows, spec) for spec in sys.argv[5:])
        for name, value in report["ratios"].items():
            print(f"{name}: {'not measured' if value is None else f'{value:.2f}x'}")
    write(pathlib.Path(out), report)


if __name__ == "__main__":
    main()
