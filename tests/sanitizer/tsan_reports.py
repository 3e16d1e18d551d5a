#!/usr/bin/env python3
"""Reads TSan's reports (files of the folder given) and prints those that are ours; exit 1 if any.

Debian's gRPC, Protobuf and Abseil are not instrumented, and hand objects over by atomics that TSan
does not see. So a data race is ours when both accesses were made by this repository's code: the
innermost frame outside the standard library is one of its sources. Where gRPC made one, or where
memory of a reactor is born or dies (gRPC counts its references; ASan watches that), it is not.
Every other kind of report (deadlock, misuse of a mutex, a leaked thread) is ours, but for threads
that gRPC made and had not joined yet when the process ended.
"""
import pathlib
import re
import sys

# By folder: ccache may bring an object that was compiled in another clone.
OURS = re.compile(
    r"(^|/)(base|proto|kvstore|scheduler|metrics|worker|server|cli|tests)/[\w/]+\.(cc|h)$")
FRAME = re.compile(r"^\s+#\d+ (?P<function>.*) (?P<file>\S+?)(?::\d+){0,2} \((?P<module>[^)]*)\)$")
ACCESS = re.compile(r"^  (Previous )?(atomic )?(write|read) of size", re.IGNORECASE)


def maker(frames):
    """The source of ours that made an access; None for the allocator or foreign code."""
    for line in frames:
        match = FRAME.match(line)
        if not match:
            continue
        function, file = match["function"], match["file"]
        if function.startswith(("operator new", "operator delete", "malloc", "free")):
            return None
        if "libsanitizer" in file or "/include/c++/" in file or function.startswith("std::"):
            continue
        foreign = file.startswith("/usr/") or "/gen/" in file
        return file if OURS.search(file) and not foreign else None
    return None


def is_ours(report):
    if "WARNING: ThreadSanitizer: thread leak" in report:
        makers = re.findall(r"#0 pthread_create .*\n\s+#1 (\S+)", report)
        return not makers or not all(name.startswith("grpc_core::Thread::") for name in makers)
    if "WARNING: ThreadSanitizer: data race" not in report:
        return True
    parts = [part.split("\n") for part in re.split(r"\n\s*\n", report)]
    accesses = []
    for lines in parts:
        starts = [i for i, line in enumerate(lines) if ACCESS.match(line)]
        if starts:
            accesses.append(maker(lines[starts[0] + 1:]))
    return len(accesses) < 2 or all(accesses)


def main():
    count, ours = 0, []
    for path in sorted(pathlib.Path(sys.argv[1]).glob("report.*")):
        for report in path.read_text(errors="replace").split("=" * 18):
            if "WARNING: ThreadSanitizer" in report:
                count += 1
                if is_ours(report):
                    ours.append(report.strip())
    print("\n\n".join(ours))
    print(f"ThreadSanitizer: {count} reports, {len(ours)} of them ours")
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main())
