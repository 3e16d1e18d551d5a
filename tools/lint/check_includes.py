#!/usr/bin/env python3
"""Checks who includes whom (docs/contract.md): one line per arrow that points the wrong way."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folder -> folders of ours it may include, beside itself. The most specific entry wins.
ALLOWED = {
    "base": set(),
    "proto": {"base"},
    "kvstore": {"base"},
    "scheduler": {"base", "kvstore"},
    "scheduler/shell": {"base", "kvstore", "scheduler", "proto"},
    "metrics": {"base"},
    "worker": {"base", "kvstore", "worker/format", "worker/cpu", "worker/cuda",
               "worker/collective"},
    "worker/format": {"base"},
    "worker/cpu": {"base", "kvstore", "worker", "worker/collective"},
    "worker/cuda": {"base", "kvstore", "worker", "worker/collective"},
    "worker/collective": {"base"},
    "worker/shell": {"base", "kvstore", "worker", "worker/collective", "proto"},
    "server": {"base", "proto", "server/tokenizer", "server/template"},
    "server/tokenizer": {"base"},
    "server/template": {"base"},
    "cli": {"base", "proto", "kvstore", "scheduler", "scheduler/shell", "metrics", "worker",
            "worker/format", "worker/cpu", "worker/cuda", "worker/collective", "worker/shell",
            "server", "server/tokenizer", "server/template"},
}
# The one header of kvstore that counts pages without knowing them, and what it is made of.
SCHEDULER_KVSTORE = {"kvstore/page_ledger.h", "kvstore/visibility.h"}
# Third parties that must stay at the edge: prefix of the include -> folders that may use it.
EDGE = {
    "grpcpp/": {"proto", "scheduler/shell", "worker/shell", "server", "cli"},
    "grpc/": {"scheduler/shell", "worker/shell", "server", "cli"},
    "headgate/": {"proto", "scheduler/shell", "worker/shell", "server", "cli"},
    "prometheus/": {"metrics"},
    "gloo/": {"worker/collective"},
    "cuda": {"worker/cuda"},
    "cublas": {"worker/cuda"},
    "nccl": {"worker/cuda"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]')


def folder_of(path):
    """The most specific folder of ALLOWED that holds `path`; None when it is not ours."""
    parts = path.split("/")
    for size in range(len(parts) - 1, 0, -1):
        name = "/".join(parts[:size])
        if name in ALLOWED:
            return name
    return None


def check(path):
    rel = path.relative_to(ROOT).as_posix()
    folder = folder_of(rel)
    top = rel.split("/")[0]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        for prefix, users in EDGE.items():
            if target.startswith(prefix) and folder not in users and top not in users:
                yield f"{rel}:{number}: {folder} may not include <{target}>"
        if not (ROOT / target).is_file():
            continue
        to = folder_of(target)
        if to != folder and to not in ALLOWED[folder]:
            yield f"{rel}:{number}: {folder} may not include {target}"
        if folder == "scheduler" and to == "kvstore" and target not in SCHEDULER_KVSTORE:
            yield f"{rel}:{number}: scheduler may include only {', '.join(sorted(SCHEDULER_KVSTORE))}"


def main():
    bad = []
    for folder in sorted({name.split("/")[0] for name in ALLOWED}):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".h", ".cc", ".cu", ".cuh"}:
                bad.extend(check(path))
    print("\n".join(bad) if bad else "include directions: ok")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
