#!/usr/bin/env python3
"""Checks the size limits of the style: lines of 100 columns, files of 400 lines (kernels 600)."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["base", "proto", "kvstore", "scheduler", "metrics", "worker", "server", "cli", "tests"]
KERNELS = ("worker/cpu/", "worker/cuda/")
COLUMNS_MAX, LINES_MAX, KERNEL_LINES_MAX = 100, 400, 600


def check(path):
    rel = path.relative_to(ROOT).as_posix()
    lines = path.read_text().splitlines()
    limit = KERNEL_LINES_MAX if rel.startswith(KERNELS) or rel.startswith("tests/") else LINES_MAX
    if len(lines) > limit:
        yield f"{rel}: {len(lines)} lines, at most {limit}: give its second concept a file"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            yield f"{rel}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"


def main():
    bad = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".h", ".cc", ".cu", ".cuh"}:
                bad.extend(check(path))
    print("\n".join(bad) if bad else "sizes: ok")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
