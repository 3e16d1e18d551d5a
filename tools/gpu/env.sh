# Sourced on the GPU machine: lets the binaries of .gpu/ find cuBLASLt and NCCL, which are in the
# toolkit, among the system's libraries or in Python packages.

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

gpu_find_libraries
