"""Attention, step by step: the tested package under the course.

Modules are named after concepts and are imported by name, for instance
``from attnbook.attention import Attention``; nothing is imported here, so that
``import attnbook`` stays fast.
"""

from importlib.metadata import version

__version__ = version("attnbook")
