#!/usr/bin/env bash
# compute-sanitizer's four tools over the GPU tests that tools/gpu/pack.sh packed: every kernel at
# small shapes, several tests at a time. A line per tool and binary as soon as it has ended; exit
# code 1 when one has a finding, fails or takes too long.
# Usage: tools/gpu/sanitize.sh [tool ...]        default: memcheck initcheck synccheck racecheck
#        tools/gpu/sanitize.sh one TOOL TEST     a single one
# SANITIZE_TESTS="NAME ...": only these binaries. SANITIZE_SECONDS: of one tool and binary at most.
# synccheck looks at the project's kernels only: it names cuBLASLt's and NCCL's too. racecheck cannot:
# then it fails itself ("Internal Sanitizer Error") beside a kernel of cuBLASLt.
# initcheck leaves out what multiplies by cuBLASLt, whose stores it does not see (model_*, worker_*);
# racecheck leaves out model_* and worker_*: minutes for each test, hazards in cuBLASLt's kernels; ours
# have tests of their own.
# worker_bits_gpu_test, of 16 GB of weights, and device_failure_gpu_test, of a fault and of all of a
# GPU's memory, run under none.
# Logs: sanitize.log in $OUT (or .gpu/).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
source tools/gpu/env.sh || exit 1
seconds_max=${SANITIZE_SECONDS:-300}
at_once=8 # they share one GPU
export HEADGATE_TEST_NO_POISON=1 # racecheck follows each of its stores to shared memory: minutes
# shellcheck disable=SC2154 # env.sh sets gpu_out and gpu_bin
log=$gpu_out/sanitize.log
# Large shapes and many draws add minutes and no kernel; the last three have limits of time, which the
# tools' slowness breaks.
slow='*ALongRow*:*Many*:*LargeShapes*:*LengthsWhereTilesAndPagesEnd*:*StreamingRowsThrough*'
slow+=':*LongContexts*:*ScoresRiseTwice*:*TheSameBits*:*AgreesByTheAlgorithms*:*SmolLm2*'
slow+=':*MoreRowsThanBlocks*:*ALostPeerIsAnError*:*AHostThatIsLate*'

one() { # TOOL TEST: 1 when something is wrong
  local output code wrong ran start=$SECONDS kernels=()
  [ "$1" != synccheck ] || kernels=(--kernel-name kns=headgate)
  # The tests ask for more memory than there is: an answer of the API, not a fault.
  output=$(timeout -k 5 "$seconds_max" compute-sanitizer --tool "$1" --report-api-errors no \
    "${kernels[@]}" --error-exitcode 9 "$gpu_bin/$2" --gtest_filter="-$slow" 2>&1)
  code=$?
  (flock 9 && printf '=== %s %s\n%s\n' "$1" "$2" "$output" >&9) 9>>"$log"
  wrong=$(grep -E 'SUMMARY: [1-9]|^\[  FAILED  \]' <<<"$output" | sort -u | head -n 3 | tr -d '=')
  # Skipped: what needs a second GPU.
  ran=$(grep -oE '^\[  (PASSED|SKIPPED) +\] [0-9]+' <<<"$output" |
    awk '{ n += $NF } END { print n + 0 }')
  printf '%-10s %-26s exit %d, %d s, %d tests%s\n' "$1" "$2" "$code" $((SECONDS - start)) "$ran" \
    "${wrong:+: $wrong}"
  [ "$code" -eq 0 ] && [ -z "$wrong" ] && [ "$ran" -gt 0 ]
}

jobs_of() { # TOOL ...: a line for each of its binaries
  local tool test
  for tool in "$@"; do
    for test in $tests; do
      case "$tool $test" in
        initcheck\ model_* | initcheck\ worker_* | racecheck\ model_* | racecheck\ worker_*) continue ;;
      esac
      echo "one $tool $test"
    done
  done
}

if [ "${1:-}" = one ]; then
  one "$2" "$3"
  exit
fi
tools=("$@")
[ $# -gt 0 ] || tools=(memcheck initcheck synccheck racecheck)
tests=${SANITIZE_TESTS:-$(find "$gpu_bin" -name '*_test' ! -name 'worker_bits_*' \
  ! -name 'device_failure_*' -printf '%f\n' 2>/dev/null | sort)}
for test in ${tests:-any_test}; do gpu_need "$test"; done
: >"$log"
jobs=$(jobs_of "${tools[@]}")
if [ -z "$jobs" ]; then
  echo "sanitize: nothing to run: its head says what ${tools[*]} leaves out" >&2
  exit 1
fi
if xargs -P "$at_once" -L 1 tools/gpu/sanitize.sh <<<"$jobs"; then
  echo 'sanitize: nothing found'
else
  echo "sanitize: findings or failures; see the lines above and $(basename "$log")"
  exit 1
fi
