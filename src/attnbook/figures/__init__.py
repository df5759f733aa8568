"""Figures that move: each is a Python module with the script and the style sheet of its name."""
