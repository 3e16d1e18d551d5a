#!/usr/bin/env python3
"""What a scheduler's steps took since the last call, from its metrics page, as JSON: how many of each
kind and their seconds, and the seconds by phase (docs/metrics.md).

    step_times.py URL STATE_FILE

STATE_FILE holds the counters of the last call; a server that is younger counts from its start.
"""
import json
import pathlib
import re
import sys
import urllib.request

WANTED = re.compile(r"headgate_(?:step_seconds_(?P<part>count|sum)|step_phase_seconds_total)"
                    r"\{.*(?:kind|phase)=\"(?P<name>\w+)\"\} (?P<value>\S+)")


def read(page):
    """{"decode count": .., "mixed sum": .., "phases device": .., ..}"""
    counters = {}
    for line in page.splitlines():
        found = WANTED.fullmatch(line.strip())
        if not found:
            continue
        of, what = (found["name"], found["part"]) if found["part"] else ("phases", found["name"])
        counters[f"{of} {what}"] = float(found["value"])
    return counters


def since(now, before):
    if any(now.get(name, 0.0) < value for name, value in before.items()):
        before = {}  # another server
    steps = {}
    for name, value in now.items():
        of, what = name.split()
        steps.setdefault(of, {})[what] = value - before.get(name, 0.0)
    return steps


def main():
    url, state = sys.argv[1], pathlib.Path(sys.argv[2])
    with urllib.request.urlopen(url, timeout=10) as answer:
        now = read(answer.read().decode())
    before = json.loads(state.read_text()) if state.exists() else {}
    state.write_text(json.dumps(now))
    print(json.dumps(since(now, before)))


if __name__ == "__main__":
    main()
