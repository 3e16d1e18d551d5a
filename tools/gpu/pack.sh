#!/usr/bin/env bash
# Builds the preset `gpu` and packs what a bare GPU machine needs into .gpu/binaries.tar.xz: the
# binary `headgate`, the GPU tests, and lib/ with the shared libraries that such a machine does not
# have. Most code is in all of them: together they compress to a tenth. tools/gpu/env.sh unpacks it.
# Usage: tools/gpu/pack.sh [headgate | test ...]   with names: only these; a test is of tests/kernel
set -euo pipefail
cd "$(dirname "$0")/../.."
size_mib_max=62 # 64 travel in a call
# Of every Linux machine, or of the CUDA toolkit and NCCL there (tools/gpu/env.sh finds those).
at_home='^(linux-vdso|ld-linux-.*|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cudart|cublas|cublasLt|nccl|cuda))\.so'

fail() {
  echo "pack: $1" >&2
  exit 1
}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  names=(headgate)
  for source in tests/kernel/*_test.cc; do
    [ ! -e "$source" ] || names+=("$(basename "$source" .cc)")
  done
fi
binaries=()
for name in "${names[@]}"; do
  if [ "$name" = headgate ]; then
    binaries+=(build/gpu/cli/headgate)
  else
    [ -e "tests/kernel/$name.cc" ] || fail "no tests/kernel/$name.cc; give headgate or such a test"
    binaries+=("build/gpu/tests/kernel/$name")
  fi
done

mkdir -p .gpu
log=.gpu/pack.log
cmake --preset gpu >"$log" 2>&1 || fail "cmake --preset gpu failed; see $log"
cmake --build --preset gpu --target "${names[@]}" >"$log" 2>&1 ||
  fail "the build failed; see the end of $log"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/lib"
for binary in "${binaries[@]}"; do
  strip -o "$stage/$(basename "$binary")" "$binary"
done
ldd "${binaries[@]}" | awk '$2 == "=>" {print $1, $3}' | sort -u | { grep -Ev "$at_home" || true; } |
  while read -r name path; do
    [ -e "$path" ] || fail "$name, which a binary needs, is not on this machine"
    strip -o "$stage/lib/$name" "$path"
  done
# A window over several binaries. The same binaries make the same archive, unpacked once.
tar -C "$stage" --sort=name --mtime=@0 --owner=0 --group=0 -cf - . |
  xz -T 1 --lzma2=preset=1,dict=48MiB >.gpu/binaries.tar.xz.part
mv .gpu/binaries.tar.xz.part .gpu/binaries.tar.xz

# What travels: tracked files, new ones that git does not ignore, and .gpu.
mib() { awk '{sum += $1} END {printf "%.1f", sum / 1048576}'; }
tree=$(git ls-files -z -co --exclude-standard | xargs -0 stat -c %s 2>/dev/null | mib)
carried=$(find .gpu -type f -printf '%s\n' | mib)
echo "pack: ${#binaries[@]} binaries, $(stat -c %s .gpu/binaries.tar.xz | mib) MiB;" \
  ".gpu has $carried MiB, the tree $tree"
awk -v sum="$tree+$carried" -v max="$size_mib_max" \
  'BEGIN {split(sum, part, "+"); exit part[1] + part[2] > max}' ||
  fail "$tree + $carried MiB, at most $size_mib_max travel: remove other files of .gpu/"
