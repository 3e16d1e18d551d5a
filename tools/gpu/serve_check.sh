#!/usr/bin/env bash
# Serves a model on GPUs through the whole path and checks it: an answer, 64 concurrent streams of
# which half leave early, every page back afterwards, a clean stop. On the GPU machine, with .gpu/.
# Usage: tools/gpu/serve_check.sh MODEL_DIR [headgate serve option ...]
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/gpu/env.sh
gpu_need headgate
# shellcheck disable=SC2154 # env.sh sets both
headgate=$gpu_bin/headgate out=$gpu_out
model=${1:?MODEL_DIR}
shift
work=$(mktemp -d)
server=unix:$work/api.sock

fail() {
  echo "serve_check: $1" >&2
  tail -n 30 "$out/serve.log" >&2
  exit 1
}

"$headgate" serve --model "$model" --device cuda --listen "$server" --run-dir "$work/run" "$@" \
  >"$work/ready" 2>"$out/serve.log" &
serve=$!
trap 'kill -KILL $serve 2>/dev/null || true' EXIT
start=$(date +%s%N)
until grep -q ready "$work/ready"; do
  kill -0 "$serve" 2>/dev/null || fail "serve ended before it was ready"
  sleep 0.05
done
echo "ready after $((($(date +%s%N) - start) / 1000000)) ms"

"$headgate" generate --server "$server" --max-tokens 40 "What is the capital of France?" |
  tee "$work/answer"
grep -q Paris "$work/answer" || fail "the answer does not name Paris"

start=$(date +%s%N)
streams=()
for i in $(seq 64); do
  "$headgate" generate --server "$server" --max-tokens 400 --ignore-eos --temperature 0.8 \
    --seed "$i" "Tell me story number $i." >"$work/stream_$i" 2>&1 &
  streams+=($!)
done
for i in $(seq 0 2 63); do  # every second client leaves
  sleep 0.02
  kill -INT "${streams[$i]}" 2>/dev/null || true
done
complete=0
for i in $(seq 0 63); do
  if wait "${streams[$i]}"; then complete=$((complete + 1)); fi
done
echo "64 streams, $complete complete, $((($(date +%s%N) - start) / 1000000)) ms"
[ "$complete" -ge 32 ] || fail "only $complete streams came to their end"

sleep 0.3 # the load message is sent every 100 ms
"$headgate" load --json --server "$server" | tee "$work/load"
python3 - "$work/load" <<'PY' || fail "pages are missing after all streams ended"
import json, sys
pools = json.load(open(sys.argv[1]))["pools"]
whole = all(0 < pool["pages_total"] == pool["pages_free"] for pool in pools)
sys.exit(0 if pools and whole else 1)
PY
kill -TERM "$serve"
trap - EXIT
wait "$serve" || fail "serve ended with exit code $?"
rm -rf "$work"
echo "serve_check: ok"
