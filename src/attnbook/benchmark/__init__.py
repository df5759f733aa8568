"""How fast the decoders are, side by side: what ``attnbook benchmark`` runs.

Everything that is compared takes turns in one process (``turns``), round by round, and a median
over rounds is reported with the slowest and the fastest. So a machine that grows warm or busy
slows all of them alike.

A run is made of sections. A section measures one thing and turns it into tables (``section``):
training and search of every model (``models``), the same models of other libraries (``peers``),
attention alone (``attention``), each optimisation on and off (``levers``), memory (``memory``), and
how fast training could be if it were its matrix products and nothing else (``roofline``). ``plan``
says what a run does, ``workload`` holds its data and models, ``run`` puts the sections in order,
``report`` makes tables and a picture of a result, ``store`` adds one to an earlier one.

On a CPU the processor's own time is compared, which does not grow when other programs run. On a
GPU the processor mostly waits, so the clock on the wall counts there, from when the GPU has done
all it was given before to when it has done the turn. The roofline is measured on a CPU alone.
"""
