#!/usr/bin/env bash
# Every GPU measurement of docs/benchmarks.md, in one run on one machine: ours (.gpu/headgate) and
# cuDNN's through PyTorch. Tables on the terminal, all numbers in gpu_bench.json in $OUT (or .gpu/).
# Usage: tools/gpu/bench.sh COMMIT     (the machine's copy of the tree has no history to ask)
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/gpu/env.sh
out=${OUT:-.gpu}/gpu_bench.json
headgate=.gpu/headgate
parts=$(mktemp -d)

measure() { # name command ...: JSON into the report; errors end the run with the command's message
  local start=$SECONDS
  "${@:2}" >"$parts/$1.json"
  echo "$1: $((SECONDS - start)) s"
}
measure copy "$headgate" bench copy --json
measure attention "$headgate" bench attention --json
measure prefill "$headgate" bench prefill --json
measure matmul "$headgate" bench matmul --json
measure step "$headgate" bench step --batch 1,16,64 --context 1024,4096,32768 --json
measure step_long "$headgate" bench step --batch 1 --context 131072 --json
measure step_streaming "$headgate" bench step --batch 1,16 --context 32768,131072 --json \
  --policy tests/data/head_patterns/Llama-3-8B-Instruct-Gradient-1048k --sparsity 0.5
measure prompt "$headgate" bench prompt --tokens 8192,32768 --runs 2 --json
measure startup "$headgate" bench startup --shape llama3-8b --json
measure cudnn python3 tools/gpu/sdpa_baseline.py
python3 - "$parts" "$out" "${1:-unknown}" <<'PY'
import datetime, json, pathlib, subprocess, sys
parts, out, commit = sys.argv[1:]
report = {"commit": commit, "date": datetime.date.today().isoformat(),
          "command": "tools/gpu/bench.sh",
          "device": subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version",
                                    "--format=csv,noheader"], capture_output=True,
                                   text=True).stdout.strip()}
for part in sorted(pathlib.Path(parts).glob("*.json")):
    report[part.stem] = json.loads(part.read_text())
pathlib.Path(out).write_text(json.dumps(report, indent=1) + "\n")
PY
rm -rf "$parts"
echo "wrote $out"
