"""What the numbers were measured on, and with which versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import torch

from attnbook import __version__

__all__ = ["machine", "version"]


def machine(device: torch.device) -> dict[str, Any]:
    """The device, the processor, and the versions of Python, torch and this package."""
    names = [platform.processor() or platform.machine()]
    with_model = Path("/proc/cpuinfo")
    if with_model.exists():
        lines = with_model.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line] or names
    return {
        "device": _device_name(device),
        "processor": names[0],
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "attnbook": __version__,
    }


def version(package: str) -> str:
    """Of an installed package; ``"unknown"`` if it is not installed under this name."""
    try:
        return installed(package)
    except PackageNotFoundError:
        return "unknown"


def _device_name(device: torch.device) -> str:
    name_of = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(name_of(device)) if name_of else device.type
