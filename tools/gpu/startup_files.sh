#!/usr/bin/env bash
# How long a start takes that reads a checkpoint of 16 GB from the page cache: random weights in
# Llama 3 8B's files, made in memory and removed again.
# Usage: tools/gpu/startup_files.sh     (needs 16 GB in /dev/shm; prints `bench startup`'s JSON)
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/gpu/env.sh
gpu_need headgate
checkpoint=$(mktemp -d -p /dev/shm)
trap 'rm -rf "$checkpoint"' EXIT
python3 tools/gpu/make_checkpoint.py "$checkpoint" >&2
"$gpu_bin/headgate" bench startup --model "$checkpoint" --json
