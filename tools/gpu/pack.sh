#!/usr/bin/env bash
# Builds the preset `gpu` and gathers in .gpu/ what a bare GPU machine needs: the binary `headgate`,
# the GPU tests, and lib/ with the shared libraries that such a machine does not have.
# Usage: tools/gpu/pack.sh [test ...]   with names: only these of tests/kernel (and headgate)
set -euo pipefail
cd "$(dirname "$0")/../.."
size_mib_max=60
# Of every Linux machine, or of the CUDA toolkit and NCCL there (tools/gpu/env.sh finds those).
at_home='^(linux-vdso|ld-linux-.*|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cudart|cublas|cublasLt|nccl|cuda))\.so'

fail() {
  echo "pack: $1" >&2
  exit 1
}

tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
  for source in tests/kernel/*_test.cc; do
    [ ! -e "$source" ] || tests+=("$(basename "$source" .cc)")
  done
fi
mkdir -p .gpu/lib
log=.gpu/pack.log
cmake --preset gpu >"$log" 2>&1 || fail "cmake --preset gpu failed; see $log"
cmake --build --preset gpu --target headgate "${tests[@]}" >"$log" 2>&1 ||
  fail "the build failed; see the end of $log"

rm -rf .gpu/headgate .gpu/*_test .gpu/lib
mkdir .gpu/lib
binaries=(build/gpu/cli/headgate "${tests[@]/#/build/gpu/tests/kernel/}")
for binary in "${binaries[@]}"; do
  strip -o ".gpu/$(basename "$binary")" "$binary"
done
ldd "${binaries[@]}" | awk '$2 == "=>" {print $1, $3}' | sort -u | grep -Ev "$at_home" |
  while read -r name path; do
    [ -e "$path" ] || fail "$name, which a binary needs, is not on this machine"
    strip -o ".gpu/lib/$name" "$path"
  done
(cd .gpu && du -ch --apparent-size headgate *_test lib 2>/dev/null) || true
size_mib=$(du -sm --apparent-size .gpu | cut -f1)
[ "$size_mib" -le "$size_mib_max" ] ||
  fail ".gpu/ has $size_mib MiB, at most $size_mib_max travel: name fewer tests or remove other files"
