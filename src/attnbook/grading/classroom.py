"""Grades a class: many submissions, in parallel, so that nothing that one does touches another.

Each result is written as soon as it is there. A run that was interrupted goes on where it stopped,
because a result that was made from the same notebook, the same seed, the same exercises and the
same code is not made again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from attnbook.errors import UserError
from attnbook.grading import cluster
from attnbook.grading.assignment import Assignment, Results, make_grader, stored
from attnbook.grading.canary import check_installation
from attnbook.grading.grader import Graded, Grader
from attnbook.grading.submissions import Submission

__all__ = ["grade_class"]


def grade_class(
    submissions: Iterable[Submission],
    assignment: Assignment,
    seed: str,
    results: Results,
    *,
    workers: int = 0,
    unsafe: bool = False,
    scheduler: str = "",
    after_each: Callable[[Graded, bool], None] | None = None,
    started: Callable[[int], None] | None = None,
    drop_others: bool = False,
) -> list[str]:
    """Grade all submissions and store their results, in place of those learners' earlier ones.

    Args:
        submissions: notebooks.
        assignment: what is graded.
        seed: of the hidden inputs.
        results: where results are stored, and looked for first.
        workers: at a time; 0 takes one for each processor.
        unsafe: without a sandbox.
        scheduler: address of a Dask scheduler that spreads the work; empty for this machine.
        after_each: told of each result, and whether it was there already.
        started: told how many submissions there are, once the canary is graded.
        drop_others: remove the stored results of learners who are not among these.

    Returns:
        Learners who are not among these and whose earlier results were kept.

    Raises:
        NoSandboxError: no sandbox, or one that leaks; nothing was run.
        CanaryError: the canary was not graded rightly; nothing was stored.
        UserError: two submissions cannot be told apart.
    """
    listed = list(submissions)
    paths = [s.path for s in listed]
    twice = {p for p in paths if paths.count(p) > 1} if len(set(paths)) < len(paths) else set()
    if twice:
        raise UserError(
            f"two notebooks are called {sorted(twice)[0]}; put each set of "
            "submissions into a folder of its own and name the folder above"
        )
    told = after_each or (lambda graded, old: None)
    if scheduler:
        cluster.grade_on(scheduler, listed, assignment, seed, results, unsafe, told, started)
    else:
        _grade_here(listed, assignment, seed, results, workers, unsafe, told, started)
    return results.replaced_by(listed, drop_others=drop_others)


def _grade_here(
    listed: list[Submission],
    assignment: Assignment,
    seed: str,
    results: Results,
    workers: int,
    unsafe: bool,
    told: Callable[[Graded, bool], None],
    started: Callable[[int], None] | None,
) -> None:
    first = make_grader(assignment, seed, unsafe)
    told_of, todo = [], []
    for submission in listed:
        old = stored(results, submission, first.digest)
        todo.append(submission) if old is None else told_of.append(old)
    if todo:
        try:
            check_installation(first, isolated=not unsafe)
        except BaseException:
            first.close()
            raise
    if started is not None:
        started(len(listed))
    for graded in told_of:
        told(graded, True)
    graders = [first]
    local = threading.local()
    lock = threading.Lock()

    def own() -> Grader:
        """Each thread has sandboxes of its own; the first thread's are there already."""
        if not hasattr(local, "grader"):
            with lock:
                if not first_taken:
                    first_taken.append(True)
                    local.grader = first
                else:
                    local.grader = make_grader(assignment, seed, unsafe)
                    graders.append(local.grader)
        mine: Grader = local.grader
        return mine

    def one(submission: Submission) -> Graded:
        graded = own().grade(submission)
        results.write(graded)
        return graded

    first_taken: list[bool] = []
    try:
        count = workers or os.cpu_count() or 1
        with ThreadPoolExecutor(count) as pool:
            waiting = iter(todo)
            running: set[Future[Graded]] = {pool.submit(one, s) for s in islice(waiting, 2 * count)}
            try:
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        told(future.result(), False)
                        running |= {pool.submit(one, s) for s in islice(waiting, 1)}
            except BaseException:
                # What is being graded is not graded wrongly, but not at all.
                pool.shutdown(wait=False, cancel_futures=True)
                for grader in graders:
                    grader.cancel()
                raise
    finally:
        for grader in graders:
            grader.close()
