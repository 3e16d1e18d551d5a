#!/usr/bin/env bash
# compute-sanitizer's four tools over the GPU tests that tools/gpu/pack.sh packed: every kernel at
# small shapes. One line per tool and binary; exit code 1 when one has a finding or a test fails.
# Usage: tools/gpu/sanitize.sh [tool ...]     default: memcheck initcheck synccheck racecheck
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
source tools/gpu/env.sh || exit 1
# shellcheck disable=SC2154 # env.sh sets both
log=$gpu_out/sanitize.log
: >"$log"
# Large shapes add minutes and no kernel.
slow='*ALongRow*:*Many*:*AgreesForEveryShape*:*LengthsWhereTilesAndPagesEnd*:*StreamingRowsThrough*:*SmolLm2*:*GivesARow*'
tools=("$@")
[ $# -gt 0 ] || tools=(memcheck initcheck synccheck racecheck)
# shellcheck disable=SC2154
tests=("$gpu_bin"/*_test)
gpu_need "$(basename "${tests[0]}")"
failed=0
for tool in "${tools[@]}"; do
  for test in "${tests[@]}"; do
    # initcheck does not see what cuBLASLt's kernels store.
    case "$tool $(basename "$test")" in
      "initcheck model_gpu_test" | "initcheck worker_gpu_test") continue ;;
    esac
    start=$SECONDS
    # The tests ask for more memory than there is: an answer of the API, not a fault.
    output=$(timeout 100 compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 \
      "$test" --gtest_filter="-$slow" 2>&1)
    code=$?
    printf '%s\n' "$output" >>"$log"
    [ "$code" -eq 0 ] || failed=$((failed + 1))
    printf '%-10s %-24s exit %d, %d s, %s\n' "$tool" "$(basename "$test")" "$code" \
      $((SECONDS - start)) "$(grep -E 'SUMMARY' <<<"$output" | tail -n 1 | tr -d '=')"
  done
done
echo "sanitize: $failed failed"
[ "$failed" -eq 0 ]
