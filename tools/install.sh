#!/usr/bin/env bash
# Makes .venv and installs the pinned packages and the course's own into it. Called by make; safe to repeat.
set -euo pipefail
# Learners' code is graded as nobody, who must be able to read what is installed.
umask 022
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

uv=$(command -v uv || true)
if [ ! -x .venv/bin/python ]; then
  if [ -n "$uv" ] && [ -z "${PYTHON:-}" ]; then
    # uv brings a Python where none is new enough.
    "$uv" venv --quiet --seed --python ">=3.11" .venv
  else
    python=$(python_for_course)
    if ! "$python" -m venv .venv; then
      rm -rf .venv
      echo "$python cannot make virtual environments. Debian, Ubuntu: apt-get install python3-venv" >&2
      exit 1
    fi
  fi
  echo "made .venv with $(.venv/bin/python --version)"
fi

install() {
  if [ -n "$uv" ]; then
    "$uv" pip install --quiet --python .venv/bin/python "$@"
  else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
  fi
}

# On Linux, PyPI's torch brings several GB of CUDA libraries that nothing here needs; PyTorch's own index
# has the build for the CPU. It is asked for this one package only, and where it cannot be reached, torch
# comes from wherever pip is set up to look. TORCH_INDEX names another index, for a GPU for instance.
pin=$(grep '^torch==' requirements.txt)
have=$(.venv/bin/python -c 'from importlib.metadata import version; print("torch==" + version("torch").split("+")[0])' 2>/dev/null || true)
if [ "$have" != "$pin" ] && [ "$(uname -s)" = Linux ]; then
  index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
  if .venv/bin/python -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1] + "/torch/", timeout=10)' "$index" 2>/dev/null; then
    install --no-deps --index-url "$index" "$pin"
  else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$pin"
  fi
fi

install -r requirements.txt
install --no-deps --no-build-isolation -e .
