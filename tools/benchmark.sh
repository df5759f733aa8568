#!/usr/bin/env bash
# Makes .venv-benchmark, with the libraries that the package is measured against. Called by make; safe to repeat.
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv-benchmark/bin/python
if [ ! -x "$python" ]; then
  .venv/bin/python -m venv .venv-benchmark
fi
install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }

# torch as .venv has it, from PyTorch's own index where that can be reached; see tools/install.sh.
pin=$(grep '^torch==' requirements.txt)
if ! "$python" -m pip list --format=freeze --disable-pip-version-check | sed 's/+.*//' | grep -qx "$pin"; then
  index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
  if "$python" -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1] + "/torch/", timeout=10)' "$index" 2>/dev/null; then
    install --no-deps --index-url "$index" "$pin"
  fi
fi
install --no-deps -r requirements-benchmark.txt
install hatchling editables
install --no-deps --no-build-isolation -e .
