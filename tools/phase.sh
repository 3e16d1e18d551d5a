# Sourced by quickstart.sh and test.sh: runs one step of a script with a progress line.
#
#   phase "label" command ...     output goes to $phase_log; its last lines are shown on failure
#
# On a terminal the line shows the seconds and the last line of output; elsewhere a line every 15 s.

phase_log=${phase_log:-$(mktemp)}

phase_line() {  # label seconds last-line
  if [ -t 2 ]; then
    printf '\r\033[K%s ... %ds  %.60s' "$1" "$2" "$3" >&2
  elif [ "$2" -gt 0 ] && [ $(($2 % 15)) -eq 0 ]; then
    printf '%s ... %ds  %.80s\n' "$1" "$2" "$3" >&2
  fi
}

phase() {
  local label=$1 start=$SECONDS pid code=0
  shift
  "$@" >"$phase_log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1 &
    wait -n "$pid" $! 2>/dev/null || true
    phase_line "$label" $((SECONDS - start)) "$(tail -n 1 "$phase_log" | tr -d '\r' | cut -c1-80)"
  done
  wait "$pid" || code=$?
  [ ! -t 2 ] || printf '\r\033[K' >&2
  if [ "$code" -ne 0 ]; then
    printf '%s: failed after %ds\n' "$label" $((SECONDS - start)) >&2
    return "$code"
  fi
  printf '%s: %ds\n' "$label" $((SECONDS - start)) >&2
}
