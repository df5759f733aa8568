"""A plugin that keeps learners' code out of otter-grader's processes.

otter-grader runs a notebook and its tests in one kernel, and unpickles what the kernel wrote. This
plugin comes before: it removes what was handed in beside the notebook, grades the notebook's cells
in the sandbox, and gives otter a notebook to run that has the verdicts in it and nothing of the
learner's. The tests of an exported assignment look these up.

``attnbook export otter`` names it in ``otter_config.json``.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from attnbook.grading.bundle import feedback, grade_all, open_grader, read_bundle
from attnbook.grading.submissions import Submission

__all__ = ["Sandboxed"]


class Sandboxed:
    """The plugin; otter makes it and calls its events.

    Args:
        submission_path: the notebook.
        submission_metadata: not used.
        plugin_config: not used.
    """

    def __init__(
        self, submission_path: str, submission_metadata: Any = None, plugin_config: Any = None
    ) -> None:
        self.path = Path(submission_path or "")
        self.report = ""

    def before_grading(self, config: Any) -> None:
        """Remove what was handed in beside the notebook.

        otter would unpickle a log of the learner's, and its kernel import a ``torch.py``.
        """
        folder = self.path.parent
        ours = {"tests", "__init__.py", self.path.name}
        for path in folder.iterdir():
            if path.is_symlink() or (path.name not in ours and path.is_file()):
                path.unlink()
            elif path.name not in ours:
                shutil.rmtree(path)
        (folder / "__init__.py").write_bytes(b"")
        config.grade_from_log = False
        config.debug = True  # an error in a notebook of ours is an error

    def before_execution(self, submission: Any) -> Any:
        """Grade the notebook, and give back one with the verdicts.

        Raises:
            BrokenInstallationError: nothing can be graded here; otter then gives no result.
        """
        bundle = self.path.parent.parent / "source" / "files" / "attnbook-export" / "bundle"
        assignment, seed = read_bundle(bundle)
        data = json.dumps(submission).encode()
        grader, sandbox = open_grader(assignment, seed)
        try:
            handed_in = Submission("", self.path.name, partial(bytes, data))
            best, notes = grade_all(grader, [handed_in])
        finally:
            grader.close()
        grades = {}
        for one in assignment.exercises:
            grade = best.get(one.name)
            text = "\n".join([*notes, feedback(one.name, grade)])
            grades[one.name] = (grade is not None and not grade.mistake, text)
        self.report = f"Learners' code ran in {sandbox}."
        # The kernel starts in the folder of the submission, where no module of a learner's is left.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        replaced = type(submission)(submission)
        replaced["cells"] = []
        replaced["metadata"] = _node(submission, {"kernelspec": _KERNEL})
        source = f"attnbook_grades = {grades!r}"
        cell: dict[str, Any] = {
            "cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [],
            "source": source, "id": "attnbook-grades",
        }  # fmt: skip
        replaced["nbformat"], replaced["nbformat_minor"] = 4, 5
        replaced["cells"] = [_node(submission, cell)]
        return replaced

    def generate_report(self) -> str:
        """What otter prints about this plugin."""
        return self.report


_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def _node(like: Any, values: dict[str, Any]) -> Any:
    """A part of a notebook, of the kind that otter's notebook library has."""
    inner = {k: _node(like, v) if isinstance(v, dict) else v for k, v in values.items()}
    return type(like)(inner)
