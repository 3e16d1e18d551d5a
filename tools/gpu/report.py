#!/usr/bin/env python3
"""Joins the measurements of one session on the GPU machine into one JSON.

    report.py PARTS_DIR COMMAND COMMIT OUT [NAME=PART:PATH/PART:PATH ...]

PARTS_DIR/PART.json becomes "rows" -> PART. A ratio is of two numbers, each named by its part and
the keys and indices to it with dots between (steps.0.us); where one lacks it is null.
"""
import datetime
import json
import pathlib
import subprocess
import sys


def device():
    try:
        asked = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version",
                                "--format=csv,noheader"], capture_output=True, text=True)
    except OSError:
        return "unknown"
    return asked.stdout.strip()


def head(command, commit):
    """What every report begins with."""
    return {"commit": commit, "date": datetime.date.today().isoformat(), "command": command,
            "device": device()}


def read_parts(folder):
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))
            if file.stat().st_size > 0}


def write(out, report):
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {out}")


def number(rows, name):
    part, path = name.split(":")
    value = rows.get(part)
    for key in path.split("."):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (TypeError, KeyError, IndexError):
            return None
    return value


def ratio(rows, spec):
    name, terms = spec.split("=")
    above, below = (number(rows, term) for term in terms.split("/"))
    return name, above / below if above is not None and below else None


def main():
    folder, command, commit, out = sys.argv[1:5]
    rows = read_parts(pathlib.Path(folder))
    report = head(command, commit) | {"rows": rows}
    if len(sys.argv) > 5:
        report["ratios"] = dict(ratio(rows, spec) for spec in sys.argv[5:])
        for name, value in report["ratios"].items():
            print(f"{name}: {'not measured' if value is None else f'{value:.2f}x'}")
    write(pathlib.Path(out), report)


if __name__ == "__main__":
    main()
