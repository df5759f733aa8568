"""An earlier result, to which a run of some of the sections is added."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attnbook.benchmark.plan import Plan

__all__ = ["merge", "read"]

# What a later run may have other than the run whose result it is added to.
MAY_DIFFER = ("only", "models", "batching", "threads", "repeat")


def read(path: Path, plan: Plan) -> dict[str, Any]:
    """An earlier result that a run of this plan can be added to.

    Raises:
        ValueError: the file holds no result of the benchmark, or one in other sizes.
        OSError: it cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        earlier = found["benchmark"]["plan"]
        found["training"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no result of `attnbook benchmark`, so nothing can be added to it; "
            "name another file"
        ) from error
    # Through JSON, which has no tuples.
    for name, value in json.loads(json.dumps(asdict(plan))).items():
        if name not in MAY_DIFFER and earlier.get(name) != value:
            raise ValueError(
                f"{path} was measured with {name} {earlier.get(name)}, this run has {value}; "
                "use the same, or name another file"
            )
    result: dict[str, Any] = found
    return result


def merge(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """An earlier result with the numbers of a later one in their places.

    Its plan stays the earlier one's, and the list of runs grows.
    """
    merged: dict[str, Any] = _merged(earlier, later)
    merged["runs"] = [*earlier.get("runs", []), *later["runs"]]
    merged["benchmark"]["plan"] = earlier["benchmark"]["plan"]
    return merged


def _merged(earlier: Any, later: Any) -> Any:
    if not isinstance(earlier, Mapping) or not isinstance(later, Mapping):
        return later
    both = {
        key: _merged(value, later[key]) if key in later else value for key, value in earlier.items()
    }
    return both | {key: value for key, value in later.items() if key not in earlier}
