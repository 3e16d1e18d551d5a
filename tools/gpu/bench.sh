#!/usr/bin/env bash
# The GPU measurements of docs/benchmarks.md that one GPU makes in minutes: ours and cuDNN's through
# PyTorch. All numbers in gpu_bench.json in $OUT (or .gpu/), the short measurements first. What takes
# longer or needs more: long_context.sh, two_ranks.sh, vllm_compare.sh.
# Usage: tools/gpu/bench.sh COMMIT     (the machine's copy of the tree has no history to ask)
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/gpu/measure.sh
begin_report tools/gpu/bench.sh "${1:-unknown}" gpu_bench.json \
  step_1x1k_of_linear_read=step:steps.0.tb_per_s/copy:0.tb_per_s \
  step_64x4k_of_linear_read=step:steps.5.tb_per_s/copy:0.tb_per_s \
  decode_1x32k_over_cudnn=attention:2.tb_per_s/cudnn:decode_32768.tb_per_s \
  decode_1x128k_over_cudnn=attention:3.tb_per_s/cudnn:decode_131072.tb_per_s \
  decode_1x1m_over_cudnn=attention:4.tb_per_s/cudnn:decode_1048576.tb_per_s \
  prefill_32k_over_cudnn=prefill:2.tflops/cudnn:prefill_32768.tflops \
  prefill_32k_in_chunks_over_cudnn=prefill:3.tflops/cudnn:prefill_32768.tflops \
  prefill_128k_over_cudnn=prefill:6.tflops/cudnn:prefill_131072.tflops \
  prefill_128k_in_chunks_over_cudnn=prefill:7.tflops/cudnn:prefill_131072.tflops \
  streaming_128k_in_chunks_of_full=prefill:9.ms/prefill:7.ms \
  prefill_32k_of_products=prefill:2.tflops/matmul_algorithms:0.tflops
measure copy "$headgate" bench copy --json
measure rows "$headgate" bench rows --json
measure layer "$headgate" bench layer --json
measure sample "$headgate" bench sample --json
measure attention "$headgate" bench attention --policy "$pattern" --json
measure prefill "$headgate" bench prefill --json
measure matmul "$headgate" bench matmul --json
measure step "$headgate" bench step --batch 1,16,64 --context 1024,4096,32768 --json
measure step_long "$headgate" bench step --batch 1 --context 131072 --json
measure step_streaming "$headgate" bench step --batch 1,16 --context 32768,131072 --json \
  --policy "$pattern" --sparsity 0.5
measure prompt "$headgate" bench prompt --tokens 8192,32768 --runs 2 --json
measure startup "$headgate" bench startup --shape llama3-8b --json
measure startup_files tools/gpu/startup_files.sh
measure matmul_algorithms "$headgate" bench matmul --algorithms 8 --json
measure cudnn python3 tools/gpu/sdpa_baseline.py
finish_measuring
