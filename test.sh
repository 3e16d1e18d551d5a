#!/usr/bin/env bash
# Every check that a change must pass. Usage: ./test.sh [step ...]
# Default: all steps, in the order of `steps` below.
set -uo pipefail
cd "$(dirname "$0")"
mkdir -p .headgate
phase_log=.headgate/test.log
source tools/phase.sh
jobs=$(nproc)
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 # a clone elsewhere finds the same objects

dependencies() { tools/install_deps.sh; }

lint() {
  python3 tools/lint/check_includes.py && python3 tools/lint/check_sizes.py &&
    python3 tools/lint/check_own_header.py &&
    git ls-files '*.h' '*.cc' '*.cu' '*.cuh' | xargs clang-format-14 --dry-run --Werror
}

python_tools() {
  tools/make_venv.sh &&
    PYTHONPATH=tools .venv/bin/python -m unittest discover -s tests/unit/convert_gguf
}

model() { tools/fetch_smollm2.sh; }

# Vocabularies that may not be in the repository; without them their tests are skipped.
vocabularies() {
  local gguf=.headgate/download/SmolLM2-135M-Instruct.Q4_1.gguf
  [ ! -d ../shared/data ] ||
    .venv/bin/python tools/make_tokenizer_vectors/make.py tokenizers --shared ../shared/data \
      --gguf "smollm2=$gguf"
}

release() {
  cmake --preset release && cmake --build --preset release -j "$jobs"
}

# The headers that no source of the release build proves to compile alone.
headers() { cmake --build --preset release -j "$jobs" --target header_check; }

# The kernels for the oldest GPUs that they are for.
ampere() {
  cmake --preset ampere &&
    if grep -q '^CMAKE_CUDA_COMPILER:[^=]*=/' build/ampere/CMakeCache.txt; then
      cmake --build --preset ampere -j "$jobs"
    else
      echo "skipped: there is no CUDA"
    fi
}

unit() { ctest --preset release -L unit; }

simulator() { ctest --preset release -L sim; }

# What measures times or fills the machine runs alone.
integration() {
  ctest --preset release -L integration && ctest --preset release -L heavy -j 1
}

# Debug builds take minutes per pass of a whole model: those tests run in release only.
slow_when_checked='SmolLm2|Hostile|Catastrophic|Exact/|Golden200'

# Kernels without threads, which TSan makes fifty times slower; two tests that are all timing.
not_for_tsan='AttentionTest|MatMul|RowOps|Quantize|Pack|AHangingStep|ASchedulerThatDoesNotRead'

# The quarantine of freed memory is kept small for the test that watches processes grow.
asan() {
  cmake --preset asan && cmake --build --preset asan -j "$jobs" &&
    ctest --preset asan -L 'unit|sim' -E "$slow_when_checked" &&
    ASAN_OPTIONS=quarantine_size_mb=8:thread_local_quarantine_size_kb=64 \
      HEADGATE_CANCEL_REQUESTS=1000 \
      ctest --preset asan -R '^(Cancel|BadUse|GoldenPreemption|GoldenGroups)'
}

# Whole folders at a time, through the joined sources of the asan preset: headers are parsed once.
# Other folders cost minutes more (gRPC) or are beyond clang 14 (_Float16 in worker).
tidy() {
  cmake --preset asan &&
    find build/asan/{base,kvstore,scheduler,proto,worker/format,server/tokenizer}/CMakeFiles \
      -path '*/headgate_*.dir/Unity/*.cxx' -print0 |
      xargs -0 -P "$jobs" -n 1 clang-tidy-14 -p build/asan --quiet \
        --checks=-bugprone-suspicious-include
}

# What has threads of its own, and the whole service with clients that leave.
tsan() {
  local reports=$PWD/.headgate/tsan
  rm -rf "$reports" && mkdir -p "$reports" && cmake --preset tsan &&
    cmake --build --preset tsan -j "$jobs" --target absl_mutex_order cpu_test collective_test \
      scheduler_shell_test worker_shell_test server_test cli_test cancel_test &&
    TSAN_OPTIONS="suppressions=$PWD/tests/sanitizer/tsan.supp log_path=$reports/report exitcode=0" \
      LD_PRELOAD=$PWD/build/tsan/libabsl_mutex_order.so HEADGATE_CANCEL_REQUESTS=500 \
      ctest --preset tsan -L 'unit|heavy' -E "$slow_when_checked|$not_for_tsan|NOT_BUILT" &&
    python3 tests/sanitizer/tsan_reports.py "$reports"
}

quickstart() {
  ./quickstart.sh "What is the capital of France?" | tee .headgate/answer.txt &&
    grep -q Paris .headgate/answer.txt
}

steps=(dependencies lint python_tools model vocabularies release headers ampere unit simulator
  integration asan tidy tsan quickstart)
[ $# -eq 0 ] || steps=("$@")
export HEADGATE_SMOLLM2_DIR=$PWD/.headgate/models/SmolLM2-135M-Instruct
passed=0 failed=0
for step in "${steps[@]}"; do
  if phase "$step" "$step"; then
    passed=$((passed + 1))
    grep -aE 'tests passed|tests failed' "$phase_log" || true
  else
    failed=$((failed + 1))
    tail -n 60 "$phase_log"
  fi
done
echo "steps: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
