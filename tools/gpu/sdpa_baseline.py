#!/usr/bin/env python3
"""Prefill and decode attention of cuDNN through PyTorch on contiguous tensors, as one JSON object:
the peer of `headgate bench prefill` and `bench attention` on the same GPU."""
import json
import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

HEADS, KV_HEADS, DIM = 32, 8, 128


def median_ms(run, repeats=7):
    run()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def tensors(queries, keys):
    make = lambda heads, tokens: torch.randn(1, heads, tokens, DIM, device="cuda",
                                             dtype=torch.bfloat16)
    return make(HEADS, queries), make(KV_HEADS, keys), make(KV_HEADS, keys)


def main():
    results = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        for tokens in (8192, 32768, 131072):
            q, k, v = tensors(tokens, tokens)
            ms = median_ms(lambda: scaled_dot_product_attention(q, k, v, is_causal=True,
                                                                enable_gqa=True), 3)
            results[f"prefill_{tokens}"] = {
                "ms": ms, "tflops": 2 * tokens**2 * HEADS * DIM / ms / 1e9}
        for tokens in (32768, 131072, 1048576):
            q, k, v = tensors(1, tokens)
            copies = max(1, 2**30 // (k.numel() * 4))  # L2 must not help
            sets = [(q, torch.randn_like(k), torch.randn_like(v)) for _ in range(copies)]
            ms = median_ms(lambda: [scaled_dot_product_attention(*s, enable_gqa=True)
                                    for s in sets]) / copies
            results[f"decode_{tokens}"] = {"ms": ms, "tb_per_s": 4 * k.numel() / ms / 1e9}
            del sets
    json.dump(results, sys.stdout)
    print()


if __name__ == "__main__":
    main()
