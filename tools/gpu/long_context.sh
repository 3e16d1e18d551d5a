#!/usr/bin/env bash
# Long contexts, full attention against streaming heads, on one GPU: Llama 3 8B decoding after 1M
# positions and taking a prompt of 320K, half of the heads streaming by the published pattern;
# Llama 2 7B decoding after 128K, three quarters streaming. Rows and ratios in long_context.json in
# $OUT (or .gpu/).
# Full attention at 1M needs 128 GiB of pages: there layer l shares those of layer l % 24. A row of
# 512 MB is far beyond the L2, so every layer is read from memory all the same.
# Usage: tools/gpu/long_context.sh COMMIT     under 6 minutes
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/gpu/measure.sh
measure_seconds_max=150

full_over() { # RATIO PART_OF_FULL PART PATH
  echo "$1=$2:$4/$3:$4"
}
begin_report tools/gpu/long_context.sh "${1:-unknown}" long_context.json \
  "$(full_over decode_1m decode_1m_full decode_1m_half steps.0.us)" \
  "$(full_over prefill_320k prompt_320k_full prompt_320k_half prompts.0.s)" \
  "$(full_over llama2_decode_128k llama2_128k_full llama2_128k_quarter steps.0.us)" \
  "$(full_over llama2_memory_128k llama2_128k_full llama2_128k_quarter steps.0.bytes_held)" \
  "$(full_over llama2_kv_memory_128k llama2_128k_full llama2_128k_quarter steps.0.kv_bytes_held)"
streaming=(--policy "$pattern" --sparsity 0.5)
step_1m=("$headgate" bench step --batch 1 --context 1048576 --json)
step_llama2=("$headgate" bench step --shape llama2-7b --batch 1 --context 131072 --json)
prompt_320k=("$headgate" bench prompt --tokens 327680 --runs 1 --json)
measure decode_1m_full "${step_1m[@]}" --page-layers 24
measure decode_1m_half "${step_1m[@]}" "${streaming[@]}"
measure llama2_128k_full "${step_llama2[@]}"
measure llama2_128k_quarter "${step_llama2[@]}" --sparsity 0.75
measure prompt_320k_half "${prompt_320k[@]}" "${streaming[@]}"
measure prompt_320k_full "${prompt_320k[@]}"
finish_measuring
