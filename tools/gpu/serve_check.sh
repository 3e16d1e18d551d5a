#!/usr/bin/env bash
# Serves a model on GPUs through the whole path and checks it: an answer, 64 concurrent streams of
# which half leave early, every page back afterwards; with several ranks, one that is killed (the
# others end at once, and the group comes back); a clean stop. On the GPU machine, with .gpu/.
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

answer() {
  "$headgate" generate --server "$server" --max-tokens 40 "What is the capital of France?" \
    >"$work/answer" 2>&1 && grep -q Paris "$work/answer"
}

await_pages() { # all free: the load message is sent every 100 ms
  sleep 0.3
  "$headgate" load --json --server "$server" | tee "$work/load"
  python3 - "$work/load" <<'PY' || fail "pages are missing after all streams ended"
import json, sys
pools = json.load(open(sys.argv[1]))["pools"]
whole = all(0 < pool["pages_total"] == pool["pages_free"] for pool in pools)
sys.exit(0 if pools and whole else 1)
PY
}

workers() { # their process ids
  local folder
  for folder in /proc/[0-9]*; do
    if grep -qs "^PPid:[[:space:]]*$serve\$" "$folder/status" &&
      tr '\0' ' ' <"$folder/cmdline" | grep -q ' worker '; then
      basename "$folder"
    fi
  done
}

answer || fail "the answer does not name Paris: $(cat "$work/answer")"
cat "$work/answer"

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

[ "$complete" -le 48 ] || fail "$complete streams came to their end, of 32 whose clients stayed"
await_pages

mapfile -t ranks < <(workers)
if [ ${#ranks[@]} -gt 1 ]; then
  streams=() # a step is under way when the rank goes
  for i in $(seq 4); do
    "$headgate" generate --server "$server" --max-tokens 1500 --ignore-eos "Count to $i thousand." \
      >"$work/stream_$i" 2>&1 &
    streams+=($!)
  done
  sleep 0.5
  start=$(date +%s%N)
  kill -KILL "${ranks[0]}"
  for _ in $(seq 100); do # as many others as there are
    alive=0
    for rank in "${ranks[@]}"; do [ ! -e "/proc/$rank" ] || alive=$((alive + 1)); done
    [ "$alive" -gt 0 ] || break
    sleep 0.1
  done
  [ "$alive" -eq 0 ] || fail "$alive ranks of the group outlived the one that was killed by 10 s"
  ended=$(date +%s%N)
  until answer; do
    [ $((($(date +%s%N) - ended) / 1000000000)) -lt 60 ] || fail "no answer in 60 s after that"
    sleep 0.2
  done
  echo "a rank killed: its group ended after $(((ended - start) / 1000000)) ms," \
    "answered again after $((($(date +%s%N) - start) / 1000000)) ms"
  complete=0
  for stream in "${streams[@]}"; do
    if wait "$stream"; then complete=$((complete + 1)); fi
  done
  [ "$complete" -eq 4 ] || fail "of the 4 streams under way $complete came to their end"
  await_pages
fi

kill -TERM "$serve"
trap - EXIT
wait "$serve" || fail "serve ended with exit code $?"
rm -rf "$work"
echo "serve_check: ok"
