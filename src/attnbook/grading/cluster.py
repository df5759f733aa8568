"""The same grading on a Dask cluster: each submission is a task that any worker may do.

A task depends on nothing but its arguments and gives back a result, so that a worker that dies
takes nothing with it: Dask gives its tasks to another. Results are stored here, by the process
that asked, one for each notebook.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from attnbook.errors import UserError
from attnbook.grading.assignment import Assignment, Results, make_grader, stored
from attnbook.grading.canary import check_installation
from attnbook.grading.grader import Graded, Grader
from attnbook.grading.submissions import Refused, Submission

__all__ = ["grade_on"]


_local = threading.local()


def _grader(names: tuple[str, ...], points: tuple[float, ...], seed: str, unsafe: bool) -> Grader:
    """A worker thread's own grader, made for its first task.

    Each thread has one, because a sandbox answers one question at a time: Dask's workers have as
    many threads as processors, and two that shared a sandbox would read each other's answers.
    """
    from attnbook.exercises import exercise

    asked = (names, points, seed, unsafe)
    if getattr(_local, "asked", None) != asked:
        if hasattr(_local, "grader"):
            _local.grader.close()
        _local.asked = None
        chosen = tuple(exercise(name) for name in names)
        assignment = Assignment(chosen, dict(zip(names, points, strict=True)))
        _local.grader = make_grader(assignment, seed, unsafe)
        check_installation(_local.grader, isolated=not unsafe)
        _local.asked = asked
    mine: Grader = _local.grader
    return mine


def _grade(
    learner: str,
    path: str,
    data: bytes | str,
    names: tuple[str, ...],
    points: tuple[float, ...],
    seed: str,
    unsafe: bool,
) -> Graded:
    """One task. ``data`` is the notebook, or a text that says why it was refused."""

    def read() -> bytes:
        if isinstance(data, str):
            raise Refused(data)
        return data

    return _grader(names, points, seed, unsafe).grade(Submission(learner, path, read))


def grade_on(
    address: str,
    listed: list[Submission],
    assignment: Assignment,
    seed: str,
    results: Results,
    unsafe: bool,
    told: Callable[[Graded, bool], None],
    started: Callable[[int], None] | None,
) -> None:
    """Grade on the cluster whose scheduler has this address; see ``grade_class``.

    Raises:
        UserError: Dask is not installed, or there is no scheduler at this address.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise UserError("--scheduler needs Dask: pip install 'attnbook[cluster]'") from error
    names = tuple(e.name for e in assignment.exercises)
    points = tuple(assignment.points[name] for name in names)
    local = Grader(assignment.exercises, seed, assignment.points, unsafe)
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except OSError as error:
        raise UserError(f"no Dask scheduler answers at {address}") from error
    with client:
        if not client.scheduler_info()["workers"]:
            client.wait_for_workers(1, timeout=30)
        if started is not None:
            started(len(listed))
        waiting = iter(listed)
        ahead = 4 * max(1, len(client.scheduler_info()["workers"]))
        tasks = as_completed(loop=client.loop)

        def submit() -> bool:
            """The next submission that has no result yet; False at the end."""
            for submission in waiting:
                old = stored(results, submission, local.digest)
                if old is not None:
                    told(old, True)
                    continue
                data: bytes | str
                try:
                    data = submission.read()
                except (Refused, OSError) as error:
                    data = str(error)
                tasks.add(
                    client.submit(
                        _grade, submission.learner, submission.path, data, names, points, seed,
                        unsafe, pure=False, retries=3,
                    )
                )  # fmt: skip
                return True
            return False

        for _ in range(ahead):
            if not submit():
                break
        for future in tasks:
            graded = future.result()
            results.write(graded)
            told(graded, False)
            submit()
