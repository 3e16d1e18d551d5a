#!/usr/bin/env bash
# Builds Headgate, fetches a small chat model and lets it answer a question through the whole path:
# client -> server -> scheduler -> two CPU workers. Usage: ./quickstart.sh ["question"]
set -euo pipefail
cd "$(dirname "$0")"
case ${1:-} in
  -h | --help)
    cat <<'HELP'
usage: ./quickstart.sh ["question"]

Installs Debian packages, builds, downloads SmolLM2-135M-Instruct (93 MB, once), starts
`headgate serve` with two CPU ranks, streams the answer, prints page statistics, stops.

HEADGATE_PORT   port of the server on 127.0.0.1 (default 50051; metrics on 9464 and 9465)
HEADGATE_RANKS  CPU ranks (default 2)
HELP
    exit 0
    ;;
esac
question=${1:-"What is the capital of France?"}
port=${HEADGATE_PORT:-50051}
mkdir -p .headgate
phase_log=.headgate/quickstart.log
serve_log=.headgate/serve.log
source tools/phase.sh

run() {  # label command ... : a phase whose own last line is the error message
  phase "$@" || {
    tail -n 1 "$phase_log" >&2
    exit 1
  }
}
build() {
  cmake --preset release && cmake --build --preset release --target headgate
}
run "Debian packages" tools/install_deps.sh
run "Build" build
run "Python venv" tools/make_venv.sh
run "Model" tools/fetch_smollm2.sh
model=$(tools/fetch_smollm2.sh)
headgate=build/release/cli/headgate

"$headgate" serve --model "$model" --ranks "${HEADGATE_RANKS:-2}" --listen "127.0.0.1:$port" \
  >.headgate/serve.out 2>"$serve_log" &
serve=$!
stop() {
  kill -TERM "$serve" 2>/dev/null || true
  wait "$serve" 2>/dev/null || true
}
trap stop EXIT
wait_ready() {
  until grep -q ready .headgate/serve.out; do
    kill -0 "$serve" 2>/dev/null || {
      grep -v ' [IW] \[' "$serve_log" | tail -n 1
      return 1
    }
    sleep 0.05
  done
}
run "Start" wait_ready
"$headgate" generate --server "127.0.0.1:$port" "$question"
sleep 0.2 # the scheduler tells its load every 100 ms
"$headgate" load --server "127.0.0.1:$port"
