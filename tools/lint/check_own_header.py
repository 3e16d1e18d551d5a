#!/usr/bin/env python3
"""Checks that X.cc includes X.h before all else, so that compiling X.cc proves that X.h compiles
alone. The target header_check compiles the headers that have no such X.cc."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["base", "proto", "kvstore", "scheduler", "metrics", "worker", "server", "cli"]
# Neither a definition nor a condition may come first: both could change what the header says.
FIRST = re.compile(r'^\s*#\s*(\w+)\s*(?:["<]([^">]+)[">])?', re.MULTILINE)


def check(source):
    header = source.with_suffix(".h")
    if not header.is_file():
        return
    first = FIRST.search(source.read_text())
    wanted = header.relative_to(ROOT).as_posix()
    if not first or first.group(1) != "include" or first.group(2) != wanted:
        yield f'{source.relative_to(ROOT)}: begin with #include "{wanted}"'


def main():
    bad = []
    for folder in FOLDERS:
        for source in sorted((ROOT / folder).rglob("*.cc")):
            bad.extend(check(source))
    print("\n".join(bad) if bad else "own headers first: ok")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
