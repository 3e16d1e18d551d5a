# shellcheck shell=bash disable=SC2034
# Sourced by the scripts that measure on the GPU machine, from the checkout's root: a command after
# the other, the JSON of each in a folder, and at the end one file of them all.
#
#   begin_measuring "$(mktemp -d)"
#   measure step "$headgate" bench step --json
#   finish_measuring tools/gpu/NAME.sh COMMIT NAME.json [ratio ...]   see report.py
#
# The report goes to $OUT, or to .gpu/.
headgate=.gpu/headgate
pattern=tests/data/head_patterns/Llama-3-8B-Instruct-Gradient-1048k
measure_seconds_max=240 # of one command
parts=""
failed=()

begin_measuring() { # FOLDER for the JSON of every measurement
  [ -x "$headgate" ] || {
    echo "no $headgate: run tools/gpu/pack.sh where the build tools are and carry .gpu" >&2
    exit 1
  }
  # shellcheck source=tools/gpu/env.sh
  source tools/gpu/env.sh
  parts=$1
  mkdir -p "$parts"
}

measure() { # NAME command ...: a failure is one figure less
  local start=$SECONDS name=$1
  shift
  if timeout "$measure_seconds_max" "$@" >"$parts/$name.json" 2>"$parts/$name.err"; then
    echo "$name: $((SECONDS - start)) s"
  else
    echo "$name: failed, exit $?: $(tail -n 1 "$parts/$name.err")"
    rm -f "$parts/$name.json"
    failed+=("$name")
  fi
}

finish_measuring() { # COMMAND COMMIT FILE [ratio ...]
  python3 tools/gpu/report.py "$parts" "$1" "$2" "${OUT:-.gpu}/$3" "${@:4}"
  rm -rf "$parts"
  [ ${#failed[@]} -eq 0 ] || {
    echo "failed: ${failed[*]}" >&2
    exit 1
  }
}
