"""What ``attnbook COMMAND`` does: one module for each command, and what they share.

A command's ``add`` gives a parser its description, its flags and the function that runs. Its
module imports torch, matplotlib and the like where they are used, so that ``--help`` answers at
once.
"""
