"""What a Dask worker of a test loads first: it has to know the tests' own chapter."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import classroom

classroom.register()
