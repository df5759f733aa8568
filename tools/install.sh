#!/usr/bin/env bash
# Makes .venv and installs the pinned packages and the course's own into it. Called by make; safe to repeat.
set -euo pipefail
cd "$(dirname "$0")/.."

python_for_course() {
  local name
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  echo "The course needs Python 3.11 or newer and found none." >&2
  echo "Debian, Ubuntu: apt-get install python3 python3-venv   macOS: brew install python@3.13" >&2
  echo "An interpreter elsewhere is named by PYTHON, for instance: make book PYTHON=/opt/python/bin/python3" >&2
  exit 1
}

if [ ! -x .venv/bin/python ]; then
  python=$(python_for_course)
  echo "making .venv with $("$python" --version)"
  if ! "$python" -m venv .venv; then
    rm -rf .venv
    echo "$python cannot make virtual environments. Debian, Ubuntu: apt-get install python3-venv" >&2
    exit 1
  fi
fi

# On Linux, PyPI's torch brings several GB of CUDA libraries that nothing here needs; PyTorch's own index
# has the build for the CPU. It is asked for this one package only, and where it cannot be reached, pip
# takes torch from wherever it is set up to look. TORCH_INDEX names another index, for a GPU for instance.
pin=$(grep '^torch==' requirements.txt)
have=$(.venv/bin/python -m pip list --format=freeze --disable-pip-version-check | sed -n 's/^torch==\([^+]*\).*/torch==\1/p')
if [ "$have" != "$pin" ] && [ "$(uname -s)" = Linux ]; then
  index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
  if .venv/bin/python -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1] + "/torch/", timeout=10)' "$index" 2>/dev/null; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --index-url "$index" "$pin"
  fi
fi

.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
