#!/usr/bin/env bash
# Makes .venv with the pinned packages of tools/requirements.txt. Does nothing when it is current.
set -euo pipefail
cd "$(dirname "$0")/.."
want=$(sha256sum tools/requirements.txt | cut -d' ' -f1)
if [ "$(cat .venv/requirements.sha256 2>/dev/null)" = "$want" ]; then exit 0; fi
rm -rf .venv
/usr/bin/python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --retries 2 -r tools/requirements.txt || {
  rm -rf .venv
  echo "make_venv: pip could not install tools/requirements.txt; check the network, then run again" >&2
  exit 1
}
echo "$want" >.venv/requirements.sha256
