#!/usr/bin/env bash
# vLLM and Headgate on the same GPU in the same session of the machine: decode, prefill, half of the
# heads streaming, and a recorded load of 512 requests. One JSON with both and their ratios.
#
# The machine takes 10 minutes and 64 MiB a call and forgets what it has when it goes, so:
#   here:   tools/gpu/vllm_compare.sh prepare PEER_DIR TRACE   PEER_DIR: kit.sh, bench.py, unpack.sh
#           tools/gpu/pack.sh headgate                         fills .gpu/
#   there, one call after the other while it is warm:
#           tools/gpu/vllm_compare.sh vllm            carries .cache/vllm, about 4 minutes
#           tools/gpu/vllm_compare.sh ours COMMIT     carries .gpu, about 5 minutes; writes
#                                                     vllm_compare.json to $OUT (or .gpu/) after
#                                                     every measurement
# What `vllm` found waits on the machine in $TMPDIR (/tmp) for `ours`; without it the JSON
# holds ours alone. Another order of the two calls is as good: `ours`, `vllm`, then `report COMMIT`.
set -euo pipefail
cd "$(dirname "$0")/../.."
kit=.cache/vllm
work=${TMPDIR:-/tmp}/headgate_compare
out=${OUT:-.gpu}
metrics=127.0.0.1:9465 # of the scheduler, by default

fail() {
  echo "vllm_compare: $1" >&2
  exit 1
}

prepare() { # PEER_DIR TRACE
  mkdir -p "$kit"
  if [ ! -e "$kit/0/kit.sha256" ] || [ ! -e "$kit/1/kit.sha256" ]; then
    "$1/kit.sh" "$kit"
    rm -rf "$kit/site" "$kit/wheels" "$kit"/vllm_kit.tar.xz
  fi
  cp -f "$1/bench.py" "$1/unpack.sh" "$kit/"
  cp -f "$2" "$kit/trace.txt"
  mkdir -p .gpu
  cp -f "$2" .gpu/trace.txt
  du -sh --apparent-size "$kit"
}

run_vllm() {
  [ -e "$kit/bench.py" ] || fail "no $kit/bench.py: run \`prepare\` first and carry $kit"
  mkdir -p "$work/kit"
  for part in 0 1; do cp "$kit/$part"/* "$work/kit/"; done # both bring kit.sha256
  [ -e "$work/kit/env.sh" ] || bash "$kit/unpack.sh" "$work/kit"
  rm -f "$work/vllm.jsonl"
  ( # shellcheck disable=SC1091
    source "$work/kit/env.sh"
    timeout 500 python3 "$kit/bench.py" --trace "$kit/trace.txt" --out "$work/vllm.jsonl" \
      --log "$work/vllm.log"
  ) || tail -n 20 "$work/vllm.log" >&2
  cp "$work/vllm.jsonl" "$out/"
}

replay() { # NAME LINES...: a trace of these lines through the server
  local name=$1
  shift
  printf '%s\n' "$@" >"$work/ours/$name.txt"
  replay_trace "$name" "$work/ours/$name.txt"
}

replay_trace() { # NAME FILE: and what the scheduler's steps took
  measure "$1" "$headgate" bench serve --server "unix:$work/api.sock" --trace "$2" --json
  measure "${1}_steps" python3 tools/gpu/step_times.py "http://$metrics/metrics" \
    "$work/ours/steps.txt"
}

lines() { # COUNT LINE: that line so often, as separate arguments in `repeated`
  repeated=()
  for _ in $(seq "$1"); do repeated+=("$2"); done
}

start_server() { # LOG option ...
  local name=$1 log=$work/ours/$1.log begun=$SECONDS
  shift
  server_logs=("$log")
  "$headgate" serve --shape llama3-8b --device cuda --listen "unix:$work/api.sock" \
    --run-dir "$work/run" "$@" >"$work/ready" 2>"$log" &
  server=$!
  trap 'kill -TERM "$server" 2>/dev/null || true' EXIT
  until grep -q ready "$work/ready"; do
    if ! kill -0 "$server" 2>/dev/null; then
      no_server "$name" "the server ended before it was ready"
      return 1
    elif [ $((SECONDS - begun)) -ge 60 ]; then
      no_server "$name" "no server after 60 s"
      return 1
    fi
    sleep 0.05
  done
  grep -h 'loaded in' "$log" || true
}

no_server() { # NAME WHY
  echo "$1: $2: $(tail -n 1 "${server_logs[0]}")"
  record_failure "$1" "$2" "${server_logs[@]}"
  stop_server
}

# TERM takes a second; a server that hangs is killed, and its workers end without it.
stop_server() {
  local begun=$SECONDS
  kill -TERM "$server" 2>/dev/null || true
  while kill -0 "$server" 2>/dev/null && [ $((SECONDS - begun)) -lt 15 ]; do sleep 0.1; done
  kill -KILL "$server" 2>/dev/null || true
  wait "$server" || true
  trap - EXIT
  server_logs=()
}

# The stretch in which all streams decode is longer than 256 steps, as vLLM's: room for the prefill
# of the last while the first decode.
serve_full() {
  start_server serve_full || return 0
  replay serve_warm "2048 8" "200 8"
  for run in 1 2 3; do replay "serve_prefill_8k_$run" "8192 1"; done
  for run in 1 2; do replay "serve_prefill_32k_$run" "32768 1"; done
  replay serve_decode_1x1k "1024 265"
  lines 64 "4096 296"
  replay serve_decode_64x4k "${repeated[@]}"
  lines 16 "32768 330"
  replay serve_decode_16x32k "${repeated[@]}"
  replay serve_decode_1x128k "131072 273"
  replay_trace serve_azure .gpu/trace.txt
  stop_server
}

serve_streaming() {
  start_server serve_streaming --policy "$pattern" --sparsity 0.5 || return 0
  replay serve_streaming_warm "2048 8"
  lines 16 "32768 330"
  replay serve_streaming_decode_16x32k "${repeated[@]}"
  replay serve_streaming_decode_1x128k "131072 273"
  replay serve_streaming_prefill_128k "131072 1"
  stop_server
}

run_ours() { # COMMIT
  source tools/gpu/measure.sh
  measure_seconds_max=120
  rm -rf "$work/ours"
  mkdir -p "$work/run"
  begin_measuring "$work/ours" "$out/vllm_compare.failures.txt" \
    python3 tools/gpu/vllm_report.py "$work" "$1" "$out/vllm_compare.json"
  measure startup "$headgate" bench startup --shape llama3-8b --json
  measure step_1 "$headgate" bench step --batch 1 --context 1024,131072 --json
  measure step_64 "$headgate" bench step --batch 64 --context 4096 --json
  measure step_16 "$headgate" bench step --batch 16 --context 32768 --json
  measure step_streaming "$headgate" bench step --batch 1,16 --context 32768,131072 --json \
    --policy "$pattern" --sparsity 0.5
  measure prompt "$headgate" bench prompt --tokens 8192,32768 --runs 3 --json
  measure prompt_long "$headgate" bench prompt --tokens 131072 --runs 1 --json
  measure prompt_streaming "$headgate" bench prompt --tokens 131072 --runs 1 --json \
    --policy "$pattern" --sparsity 0.5
  serve_full
  serve_streaming
  finish_measuring
}

report() { # COMMIT
  python3 tools/gpu/vllm_report.py "$work" "$1" "$out/vllm_compare.json"
}

case ${1:-} in
  prepare) prepare "${2:?PEER_DIR}" "${3:?TRACE}" ;;
  vllm) run_vllm ;;
  ours) run_ours "${2:-unknown}" ;;
  report) report "${2:-unknown}" ;;
  *) fail "give prepare, vllm, ours or report; the head of this script says when" ;;
esac
