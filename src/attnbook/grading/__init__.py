"""Grading a class: submissions in, grades and feedback out, learners' code in a sandbox.

::

    attnbook grade submissions/ --chapters 5 --out grades/
"""
