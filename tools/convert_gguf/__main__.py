"""python -m convert_gguf IN.gguf OUT_DIR: see README.md beside this file."""

import argparse
import sys
import time

from .convert import convert
from .errors import ConvertError

_PROGRESS_S = 2.0


class _Progress:
    """One line on stderr every two seconds, none for a conversion that is quicker."""

    def __init__(self):
        self._last_s = time.monotonic()

    def __call__(self, done, total):
        now_s = time.monotonic()
        if now_s - self._last_s >= _PROGRESS_S:
            self._last_s = now_s
            print(f"convert_gguf: {done} of {total} tensors", file=sys.stderr, flush=True)


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="convert_gguf", description="Converts a GGUF model to the Hugging Face layout.")
    parser.add_argument("source", metavar="IN.gguf")
    parser.add_argument("out_dir", metavar="OUT_DIR", help="created; must not exist or be empty")
    options = parser.parse_args(arguments)
    try:
        convert(options.source, options.out_dir, _Progress())
    except ConvertError as error:
        print(f"convert_gguf: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("convert_gguf: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0


sys.exit(main(sys.argv[1:]))
