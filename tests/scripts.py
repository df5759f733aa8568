"""Scripts that are not part of the package, loaded as modules so that tests can call them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]

# Looks for a package named bottleneck when it is first imported, and would take the script for it.
importlib.import_module("pandas")


def load_script(path: str) -> ModuleType:
    """A script of the repository, with its neighbours in reach while it is loaded.

    Args:
        path: from the repository's root, like ``"book/results/museum.py"``.
    """
    script = ROOT / path
    sys.path.insert(0, str(script.parent))
    try:
        module = importlib.import_module(script.stem)
    finally:
        sys.path.remove(str(script.parent))
    assert module.__file__ == str(script), f"{script.stem} names two modules"
    return module
