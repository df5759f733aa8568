"""A result for people: its sections' tables, and a picture of training speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnbook.benchmark.run import ALL_SECTIONS
from attnbook.benchmark.section import Table, clock, number_at
from attnbook.plots import KEY, QUERY

__all__ = ["figure", "tables"]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Those of all sections that were measured."""
    return [table for section in ALL_SECTIONS for table in section.tables(result)]


def figure(result: Mapping[str, Any]) -> Figure:
    """Training speed of every model, and its roofline where there is one.

    Bucketed batches are drawn if they were measured, and one thread.

    Raises:
        ValueError: the result holds no training speed.
    """
    measured = {batching: one for batching, one in result["training"].items() if one}
    if not measured:
        raise ValueError("there is no training speed to draw")
    batching = "bucketed" if "bucketed" in measured else next(iter(measured))
    threads = "threads1" if "threads1" in measured[batching] else next(iter(measured[batching]))
    rates = measured[batching][threads]
    speeds = [rate[f"tokens_per_{clock(result)[0]}"] for rate in rates.values()]
    roof = [
        number_at(result, "roofline", batching, name, "tokens_per_second")
        if threads == "threads1"
        else None
        for name in rates
    ]
    drawn, axes = plt.subplots(figsize=(4.6, 0.42 * len(rates) + 1.2))
    _draw_bars(axes, list(rates.values()), speeds, roof)
    axes.set_yticks(range(len(rates)), list(rates))
    axes.invert_yaxis()
    on_cpu = "cpu" in clock(result)[0]
    axes.set_xlabel("target tokens per second" + (" of CPU time" if on_cpu else ""))
    count = threads.removeprefix("threads")
    place = "on a GPU" if not on_cpu else "on one core" if count == "1" else f"on {count} threads"
    axes.set_title(f"Training {place}{_reached(speeds, roof)}")
    return drawn


def _draw_bars(
    axes: Axes,
    rates: Sequence[Mapping[str, float]],
    speeds: Sequence[float],
    roof: Sequence[float | None],
) -> None:
    """A bar for each median with its slowest and fastest round, and a mark for the roofline."""
    errors = [
        [speed - rate["low"] for speed, rate in zip(speeds, rates, strict=True)],
        [rate["high"] - speed for speed, rate in zip(speeds, rates, strict=True)],
    ]
    places = range(len(rates))
    axes.barh(places, speeds, height=0.62, color=KEY, xerr=errors, error_kw={"linewidth": 1})
    for place, most in zip(places, roof, strict=True):
        if most is not None:
            axes.plot([most] * 2, [place - 0.4, place + 0.4], color=QUERY)


def _reached(speeds: Sequence[float], roof: Sequence[float | None]) -> str:
    """The finding, for the title; nothing without a roofline."""
    shares = [speed / most for speed, most in zip(speeds, roof, strict=True) if most]
    if not shares:
        return ""
    return f"\nreaches {100 * min(shares):.0f} to {100 * max(shares):.0f} % of its roofline"
