#!/usr/bin/env bash
# Runs the tests that tools/gpu/pack.sh packed, on a machine with a GPU, from any folder.
# Usage: tools/gpu/run_tests.sh [test ...]   GTEST_FILTER and the like work as usual.
# All output goes to gpu_tests.log in $OUT (or .gpu/); here, a line per binary and what failed.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
source tools/gpu/env.sh || exit 1
seconds_max=${HEADGATE_GPU_TEST_SECONDS:-180}
# shellcheck disable=SC2154 # env.sh sets both
log=$gpu_out/gpu_tests.log
: >"$log"

# shellcheck disable=SC2154
tests=("${@/#/$gpu_bin/}")
[ $# -gt 0 ] || tests=("$gpu_bin"/*_test)
for test in "${tests[@]}"; do gpu_need "$(basename "$test")"; done
passed=0 failed=()
for test in "${tests[@]}"; do
  start=$(date +%s%N)
  output=$(timeout -k 5 "$seconds_max" "$test" 2>&1)
  code=$?
  printf '%s\n' "$output" >>"$log"
  printf '%-32s exit %d, %s, %d ms\n' "$(basename "$test")" "$code" \
    "$(grep -oE '[0-9]+ tests? (ran|from)[^.]*ran' <<<"$output" | tail -n 1)" \
    $((($(date +%s%N) - start) / 1000000))
  if [ "$code" -eq 0 ]; then
    passed=$((passed + 1))
    grep -E '^\[  SKIPPED \]' <<<"$output" | sort -u
  else
    failed+=("$(basename "$test")")
    grep -vE '^\[( RUN|       OK|-----)' <<<"$output" | tail -n 40
  fi
done
echo "GPU test binaries: $passed passed, ${#failed[@]} failed ${failed[*]-}"
[ ${#failed[@]} -eq 0 ]
