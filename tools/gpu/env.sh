# shellcheck shell=bash
# Sourced on the GPU machine, from any folder. Unpacks what tools/gpu/pack.sh packed, once, and names
# the folder of binaries in `gpu_bin`; finds cuBLASLt and NCCL, which are in the toolkit, among the
# system's libraries or in Python packages; `gpu_out` is the folder for results: $OUT, or .gpu/.
gpu_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
gpu_archive=$gpu_root/.gpu/binaries.tar.xz
# shellcheck disable=SC2034 # for those who source this
gpu_out=${OUT:-$gpu_root/.gpu}
gpu_unpacked=${TMPDIR:-/tmp}/headgate_gpu # beside the checkout it would travel with it
gpu_bin=$gpu_unpacked/none

# Another archive has another folder.
gpu_unpack() {
  local part
  gpu_bin=$gpu_unpacked/$(sha256sum "$gpu_archive" | cut -c 1-16)
  [ ! -d "$gpu_bin" ] || return 0
  mkdir -p "$gpu_unpacked" && part=$(mktemp -d "$gpu_bin.XXXXXX") || return 1
  if command -v xz >/dev/null; then
    tar -C "$part" -xJf "$gpu_archive"
  else
    python3 -c 'import sys, tarfile
tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$gpu_archive" "$part"
  fi && chmod 755 "$part" && mv -T "$part" "$gpu_bin" && return 0
  rm -rf "$part"
  [ ! -d "$gpu_bin" ] || return 0 # another script was first
  echo "gpu: $gpu_archive cannot be unpacked to $gpu_bin; run tools/gpu/pack.sh again" >&2
  return 1
}

gpu_need() { # NAME: ends the script without that binary
  [ ! -x "$gpu_bin/$1" ] || return 0
  echo "gpu: no $1 in .gpu/binaries.tar.xz: run tools/gpu/pack.sh (with names: also $1) where the" \
    "build tools are, and carry .gpu" >&2
  exit 1
}

gpu_library_folders() {
  echo /usr/local/cuda/lib64 /usr/lib/x86_64-linux-gnu
  python3 -c 'import glob, sysconfig
print(*glob.glob(sysconfig.get_path("purelib") + "/nvidia/*/lib"))' 2>/dev/null || true
}

gpu_find_libraries() {
  local name folder found
  for name in libcublasLt.so.13 libnccl.so.2; do
    found=""
    for folder in $(gpu_library_folders); do
      [ -n "$found" ] || [ ! -e "$folder/$name" ] || found=$folder
    done
    if [ -z "$found" ]; then
      echo "gpu: no $name on this machine; add its folder to LD_LIBRARY_PATH" >&2
    else
      export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$found
    fi
  done
}

export NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE:-0} # for the tests, as headgate does itself
gpu_find_libraries
if [ -e "$gpu_archive" ]; then gpu_unpack; fi
