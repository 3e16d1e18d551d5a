# shellcheck shell=bash
# Sourced by the scripts that measure on the GPU machine, from the checkout's root: a command after
# the other, the JSON of each in a folder, and a report of them all, written anew after each.
#
#   begin_report tools/gpu/NAME.sh COMMIT NAME.json [ratio ...]   see report.py
#   measure step "$headgate" bench step --json
#   finish_measuring
#
# The report goes to $OUT, or to .gpu/. What failed is missing in it; the ends of its output are in
# NAME.failures.txt beside it, and the script ends with 1.
# shellcheck source=tools/gpu/env.sh
source tools/gpu/env.sh
# shellcheck disable=SC2034,SC2154 # from env.sh, and for those who source this
headgate=$gpu_bin/headgate
# shellcheck disable=SC2034
pattern=tests/data/head_patterns/Llama-3-8B-Instruct-Gradient-1048k
measure_seconds_max=240 # of one command
failure_bytes_max=4000  # of one file that a failure leaves
parts=""                # folder: NAME.json of every measurement
failures=""             # file
report_command=()
server_logs=() # of what a measurement talks to
failed=()

begin_measuring() { # FOLDER FAILURES report command ...
  gpu_need headgate
  parts=$1 failures=$2
  report_command=("${@:3}")
  mkdir -p "$parts"
  touch "$parts/begun"
  rm -f "$failures"
}

begin_report() { # COMMAND COMMIT FILE [ratio ...]
  local folder
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the name is local
  trap "rm -rf '$folder'" EXIT
  # shellcheck disable=SC2154
  begin_measuring "$folder" "$gpu_out/${3%.json}.failures.txt" \
    python3 tools/gpu/report.py "$folder" "$1" "$2" "$gpu_out/$3" "${@:4}"
}

record_failure() { # NAME WHY [file ...]
  local name=$1 why=$2 file
  shift 2
  failed+=("$name")
  {
    echo "=== $name: $why"
    for file in "$@"; do
      [ ! -s "$file" ] || { echo "--- $(basename "$file")" && tail -c "$failure_bytes_max" "$file"; }
    done
    echo
  } >>"$failures"
}

is_json() { # FILE
  python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$1" 2>/dev/null
}

measure() { # NAME command ...: a failure is one figure less
  local start=$SECONDS name=$1 why=""
  local out=$parts/$name.out err=$parts/$name.err
  shift
  timeout -k 5 "$measure_seconds_max" "$@" >"$out" 2>"$err" || why="exit $?"
  [ -n "$why" ] || is_json "$out" || why="its output is no JSON"
  if [ -z "$why" ]; then
    mv "$out" "$parts/$name.json"
    echo "$name: $((SECONDS - start)) s"
  else
    echo "$name: failed after $((SECONDS - start)) s, $why: $(tail -n 1 "$err")"
    record_failure "$name" "$why: $*" "$out" "$err" "${server_logs[@]}"
  fi
  "${report_command[@]}" >/dev/null || echo "$name: the report was not written" >&2
}

finish_measuring() {
  "${report_command[@]}" || failed+=(report)
  [ ${#failed[@]} -eq 0 ] || {
    echo "failed: ${failed[*]}; see $failures" >&2
    exit 1
  }
}
