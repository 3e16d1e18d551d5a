#!/usr/bin/env python3
"""Joins what tools/gpu/vllm_compare.sh measured into one JSON and prints the ratios.

    vllm_report.py WORK_DIR COMMIT OUT

WORK_DIR/vllm.jsonl: vLLM's figures, one JSON line each. WORK_DIR/ours/NAME.json: ours. Every ratio
is of tokens a second, ours over vLLM's: `engine` without a server (`bench step`, `bench prompt`),
`serve` through server, scheduler and worker over gRPC. vLLM's are of its engine without a server.
"""
import itertools
import json
import pathlib
import sys

import report as session


def read_vllm(path):
    figures = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            figure = json.loads(line)
            figures.setdefault(figure.pop("name"), figure)  # of several traces the first
        except (ValueError, KeyError, AttributeError, TypeError):
            print(f"{path.name}: a line is left out, it is no figure", file=sys.stderr)
    return figures


def of_row(ours, part, rows, wanted, key):
    """The number `key` of the row that has all of `wanted`."""
    for i in itertools.count():
        here = {name: session.at(ours, [part, rows, i, name]) for name in wanted}
        if here == wanted:
            return session.at(ours, [part, rows, i, key])  # without: "error" says why
        if None in here.values():
            return None


def step(ours, part, batch, context):
    return of_row(ours, part, "steps", {"batch": batch, "context": context}, "tokens_per_s")


def prompt(ours, part, tokens):
    # vLLM's figure is its best run too
    return of_row(ours, part, "prompts", {"tokens": tokens}, "best_tokens_per_s")


def served_prompt(ours, prefix, tokens):
    runs = [session.at(one, ["first_token_s", "p50"]) for name, one in ours.items()
            if name.startswith(prefix)]
    runs = [run for run in runs if run]
    return tokens / min(runs) if runs else None


def served_decode(ours, part):
    return session.at(ours, [part, "all_decoding", "tokens_per_s"])


def rows(vllm, ours):
    k = 1024
    rate = lambda name, key="tok_s": session.at(vllm, [name, key])
    served = lambda part: served_decode(ours, part)
    decode_16, decode_1 = rate("decode_16x32k"), rate("decode_1x128k")
    return {
        "decode 1 x 1K": (rate("decode_1x1k"), step(ours, "step_1", 1, k),
                          served("serve_decode_1x1k")),
        "decode 64 x 4K": (rate("decode_64x4k"), step(ours, "step_64", 64, 4 * k),
                           served("serve_decode_64x4k")),
        "decode 16 x 32K": (decode_16, step(ours, "step_16", 16, 32 * k),
                            served("serve_decode_16x32k")),
        "decode 1 x 128K": (decode_1, step(ours, "step_1", 1, 128 * k),
                            served("serve_decode_1x128k")),
        "prefill 8K": (rate("prefill_8k"), prompt(ours, "prompt", 8 * k),
                       served_prompt(ours, "serve_prefill_8k", 8 * k)),
        "prefill 32K": (rate("prefill_32k"), prompt(ours, "prompt", 32 * k),
                        served_prompt(ours, "serve_prefill_32k", 32 * k)),
        "prefill 128K": (rate("prefill_128k"), prompt(ours, "prompt_long", 128 * k), None),
        "512 azure requests": (rate("throughput", "total_tok_s"), None,
                               session.at(ours, ["serve_azure", "tokens_per_s"])),
        "half streaming, decode 16 x 32K": (decode_16, step(ours, "step_streaming", 16, 32 * k),
                                            served("serve_streaming_decode_16x32k")),
        "half streaming, decode 1 x 128K": (decode_1, step(ours, "step_streaming", 1, 128 * k),
                                            served("serve_streaming_decode_1x128k")),
        "half streaming, prefill 128K": (
            rate("prefill_128k"), prompt(ours, "prompt_streaming", 128 * k),
            served_prompt(ours, "serve_streaming_prefill_128k", 128 * k)),
    }


def show(value, form):
    return "-" if value is None else form % value


def main():
    work, commit, out = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    vllm, ours = read_vllm(work / "vllm.jsonl"), session.read_parts(work / "ours")
    table = {}
    print(f"{'tokens/s':34} {'vLLM':>10} {'engine':>10} {'ratio':>7} {'serve':>10} {'ratio':>7}")
    for name, (peer, engine, serve) in rows(vllm, ours).items():
        ratio = lambda mine: mine / peer if mine and peer else None
        table[name] = {"vllm": peer, "engine": engine, "engine_ratio": ratio(engine),
                       "serve": serve, "serve_ratio": ratio(serve)}
        print(f"{name:34} {show(peer, '%10.1f'):>10} {show(engine, '%10.1f'):>10} "
              f"{show(ratio(engine), '%.2fx'):>7} {show(serve, '%10.1f'):>10} "
              f"{show(ratio(serve), '%.2fx'):>7}")
    start = session.at(vllm, ["start", "ready_s"]), session.at(ours, ["startup", "ready_s"])
    print(f"seconds to ready: vLLM {show(start[0], '%.1f')}, ours {show(start[1], '%.1f')}")
    session.write(out, session.head("tools/gpu/vllm_compare.sh", commit, work / "ours") | {
        "tokens_per_s": table, "ready_s": {"vllm": start[0], "ours": start[1]},
        "vllm": vllm, "ours": ours})


if __name__ == "__main__":
    main()
