#!/usr/bin/env bash
# compute-sanitizer's four tools over the GPU tests that tools/gpu/pack.sh left in .gpu/: every kernel
# at small shapes. One line per tool and binary; exit code 1 when one has a finding or a test fails.
# Usage: tools/gpu/sanitize.sh [tool ...]     default: memcheck initcheck synccheck racecheck
set -uo pipefail
cd "$(dirname "$0")/../.."
source tools/gpu/env.sh
log=${OUT:-.gpu}/sanitize.log
: >"$log"
# Large shapes add minutes and no kernel.
slow='*ALongRow*:*Many*:*AgreesForEveryShape*:*LengthsWhereTilesAndPagesEnd*:*StreamingRowsThrough*:*SmolLm2*'
tools=("$@")
[ $# -gt 0 ] || tools=(memcheck initcheck synccheck racecheck)
failed=0
for tool in "${tools[@]}"; do
  for test in .gpu/*_test; do
    # initcheck does not see what cuBLASLt's kernels store.
    [ "$tool $test" != "initcheck .gpu/model_gpu_test" ] || continue
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
