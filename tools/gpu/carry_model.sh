#!/usr/bin/env bash
# Brings SmolLM2-135M-Instruct (tools/fetch_smollm2.sh; its GGUF has 94 MiB) to a GPU machine that
# takes 64 MiB a call: in two pieces, joined and converted there.
#   here:   tools/gpu/carry_model.sh pack      fills .cache/model/1 and .cache/model/2
#   there, while the machine is warm:
#           tools/gpu/carry_model.sh join      with .cache/model/1, then with .cache/model/2; the
#                                              second prints the model's folder as its last line
set -euo pipefail
cd "$(dirname "$0")/../.."
gguf=.headgate/download/SmolLM2-135M-Instruct.Q4_1.gguf
pieces=.cache/model
work=${TMPDIR:-/tmp}/headgate_model
model=$work/SmolLM2-135M-Instruct
first_mib=53 # the second leaves room for .gpu

fail() {
  echo "carry_model: $1" >&2
  exit 1
}

pack() {
  [ -e "$gguf" ] || fail "no $gguf: run tools/make_venv.sh and tools/fetch_smollm2.sh first"
  rm -rf "$pieces"
  mkdir -p "$pieces/1" "$pieces/2"
  head -c "${first_mib}M" "$gguf" >"$pieces/1/gguf"
  tail -c +"$((first_mib * 1024 * 1024 + 1))" "$gguf" >"$pieces/2/gguf"
  sha256sum <"$gguf" >"$pieces/2/sha256"
  # What tools/convert_gguf needs and such a machine lacks.
  cp -r "$(.venv/bin/python -c 'import gguf; print(*gguf.__path__)')" "$pieces/2/gguf_package"
  rm -rf "$pieces/2/gguf_package/__pycache__" "$pieces/2/gguf_package/scripts"
  du -sh --apparent-size "$pieces/1" "$pieces/2"
}

join() {
  local piece
  mkdir -p "$work"
  for piece in 1 2; do
    [ ! -e "$pieces/$piece/gguf" ] || cp -f "$pieces/$piece/gguf" "$work/$piece"
  done
  [ -e "$work/1" ] || fail "no $pieces/1 here: run \`pack\` and carry it"
  [ -e "$pieces/2/sha256" ] || { echo "the first piece is there; carry $pieces/2" && return; }
  if [ ! -e "$model/model.safetensors" ]; then
    cat "$work/1" "$work/2" >"$work/whole.gguf"
    sha256sum <"$work/whole.gguf" | cmp - "$pieces/2/sha256" || fail "the pieces do not fit: pack again"
    mkdir -p "$work/python"
    cp -r "$pieces/2/gguf_package" "$work/python/gguf"
    PYTHONPATH=tools:$work/python python3 -m convert_gguf "$work/whole.gguf" "$model" >&2
  fi
  echo "$model"
}

case ${1:-} in
  pack | join) "$1" ;;
  *) fail "give pack or join; the head of this script says when" ;;
esac
