"""A trace that one can step through: where labs and notebooks find the widget.

The figure itself, its script and its styles are in :mod:`attnbook.figures.scrubber`.
"""

from attnbook.figures.scrubber import Explorer, Scrubber, explore

__all__ = ["Explorer", "Scrubber", "explore"]
