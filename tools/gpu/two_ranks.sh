#!/usr/bin/env bash
# A whole decode step of Llama 3 8B on one GPU and on two, and the sums between them, on a machine
# with two. Rows and speed-ups in two_ranks.json in $OUT (or .gpu/).
# Usage: tools/gpu/two_ranks.sh COMMIT
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/gpu/measure.sh
begin_report tools/gpu/two_ranks.sh "${1:-unknown}" two_ranks.json \
  decode_1x1k=step_1k_ranks_1:steps.0.us/step_1k_ranks_2:steps.0.us \
  decode_64x1k=step_1k_ranks_1:steps.1.us/step_1k_ranks_2:steps.1.us \
  decode_16x32k=step_32k_ranks_1:steps.0.us/step_32k_ranks_2:steps.0.us
for ranks in 1 2; do
  measure "step_1k_ranks_$ranks" "$headgate" bench step --ranks $ranks --batch 1,64 \
    --context 1024 --json
  measure "step_32k_ranks_$ranks" "$headgate" bench step --ranks $ranks --batch 16 \
    --context 32768 --json
done
measure allreduce "$headgate" bench allreduce --json
finish_measuring
