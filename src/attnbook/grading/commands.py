"""The commands ``attnbook grade`` and ``attnbook export``: their flags, and what they print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from attnbook.commands import outputs
from attnbook.errors import UserError, input_errors

__all__ = ["add_export", "add_grade"]

UNSAFE = "--run-unsafely-without-a-sandbox"


def _assignment_flags(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_argument_group("what is graded (all exercises, if nothing is named)")
    chosen.add_argument(
        "--chapters", nargs="+", metavar="N", default=[], help="numbers of chapters"
    )
    chosen.add_argument(
        "--exercises", nargs="+", metavar="NAME", default=[], help="single exercises"
    )
    chosen.add_argument(
        "--assignment",
        type=Path,
        metavar="FILE.toml",
        help="title, chapters, and a table [points] with points for single exercises",
    )


def add_grade(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook grade`` its flags."""
    parser.description = (
        "Grade the notebooks of a class. Learners' code runs in a sandbox "
        "(bubblewrap: no network, nothing to write, limits on time, memory and processes), on "
        "inputs drawn from a secret seed. Interrupted, it goes on where it stopped when the same "
        "command is given again."
    )
    parser.epilog = (
        "Examples: `attnbook grade submissions/ --chapters 5`; "
        "`attnbook grade canvas.zip --assignment week3.toml --out week3`."
    )
    parser.add_argument(
        "submissions",
        nargs="+",
        type=Path,
        metavar="SUBMISSIONS",
        help="folders, zip archives or notebooks; a notebook's learner is the folder it lies in, "
        "or its name without the chapter's",
    )
    _assignment_flags(parser)
    how = parser.add_argument_group("where and how")
    how.add_argument(
        "--out", type=Path, metavar="FOLDER", default=Path("grades"),
        help="grades.csv, grades.json, report.html and feedback/ are written there "
        "(default: grades)",
    )  # fmt: skip
    how.add_argument(
        "--seed-file", type=Path, metavar="FILE",
        help="a file whose text is the secret seed (default: seed.txt in the output folder, made "
        "when it is missing)",
    )  # fmt: skip
    how.add_argument(
        "--workers", type=int, metavar="N", default=0, help="at a time (default: one a processor)"
    )
    how.add_argument(
        "--scheduler", metavar="ADDRESS", default="",
        help="spread the work over the Dask cluster with this scheduler, tcp://…",
    )  # fmt: skip
    how.add_argument(
        "--drop-others", action="store_true",
        help="remove the grades of learners who are not among these submissions; without it only "
        "those who are get new ones, and all others keep theirs",
    )  # fmt: skip
    how.add_argument("--quiet", action="store_true", help="no progress bar")
    how.add_argument(
        UNSAFE, dest="unsafe", action="store_true",
        help="run learners' code as you, with your files and your network in its reach; only for "
        "notebooks that you have read",
    )  # fmt: skip
    parser.set_defaults(run=_grade)


def _grade(args: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from attnbook.grading.assignment import Results, read_assignment, read_seed
    from attnbook.grading.canary import CanaryError
    from attnbook.grading.classroom import grade_class
    from attnbook.grading.grader import Graded
    from attnbook.grading.reports import number, refuse_foreign, refuse_mixture, write_reports
    from attnbook.grading.sandbox import BrokenSandboxError, NoSandboxError
    from attnbook.grading.submissions import find

    if args.workers < 0:
        raise UserError(f"--workers: expected a number from 1, got {args.workers}")
    with input_errors():
        assignment = read_assignment(args.assignment, args.chapters, args.exercises)
        listed = list(find(args.submissions))
        refuse_foreign(args.out)
        if not args.drop_others:
            refuse_mixture(args.out, assignment, {one.learner for one in listed})
        seed = read_seed(args.out, args.seed_file)
    results = Results(args.out / "results")
    bar: Any = None

    def started(count: int) -> None:
        nonlocal bar
        bar = tqdm(total=count, unit=" notebooks", disable=args.quiet, file=sys.stderr)

    def told(_: Graded, __: bool) -> None:
        bar.update()

    try:
        kept = grade_class(
            listed, assignment, seed, results,
            workers=args.workers, unsafe=args.unsafe, scheduler=args.scheduler,
            after_each=told, started=started, drop_others=args.drop_others,
        )  # fmt: skip
    except NoSandboxError as error:
        raise UserError(
            f"nothing was graded, because learners' code must not run outside a sandbox: {error}. "
            f"{UNSAFE} grades without one, for notebooks that you have read"
        ) from error
    except (CanaryError, BrokenSandboxError) as error:
        raise UserError(str(error)) from error
    finally:
        if bar is not None:
            bar.close()
    learners = write_reports(args.out, assignment, results)
    notes = sum(len(learner.notes) for learner in learners)
    print(
        f"{len(learners)} learners, {len(listed)} notebooks, {number(assignment.total)} points; "
        f"{notes} could not be graded"
    )
    if kept:
        print(
            f"{len(kept)} of these learners keep earlier grades, because they are not among the "
            "submissions (--drop-others removes them)",
            file=sys.stderr,
        )
    print(f"{args.out / 'grades.csv'}  {args.out / 'report.html'}  {args.out / 'feedback'}")


def add_export(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook export`` its kinds and their flags."""
    parser.description = (
        "Write what another system needs: an autograder for Gradescope, an assignment "
        "for otter-grader, a table of grades for Canvas or Moodle."
    )
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    scope = kinds.add_parser("gradescope", help="an autograder zip for Gradescope")
    otter = kinds.add_parser("otter", help="an assignment for otter-grader")
    for kind in (scope, otter):
        _assignment_flags(kind)
        kind.add_argument(
            "--seed-file", type=Path, metavar="FILE", required=True,
            help="a file whose text is the secret seed; the same seed gives the same bytes",
        )  # fmt: skip
    scope.add_argument("--out", type=Path, metavar="FILE.zip", default=Path("autograder.zip"))
    otter.add_argument("--out", type=Path, metavar="FOLDER", default=Path("otter"))
    lms = kinds.add_parser("lms", help="grades as an LMS imports them")
    lms.add_argument("grades", type=Path, metavar="GRADES", help="grades.json, or its folder")
    lms.add_argument("--roster", type=Path, metavar="FILE.csv", required=True,
                     help="Canvas's exported gradebook, or Moodle's grading worksheet")  # fmt: skip
    lms.add_argument("--system", choices=("canvas", "moodle"), required=True)
    lms.add_argument("--title", default="", help="of Canvas's column (default: the assignment's)")
    lms.add_argument("--out", type=Path, metavar="FILE.csv", default=Path("import.csv"))
    scope.set_defaults(run=_export_gradescope)
    otter.set_defaults(run=_export_otter)
    lms.set_defaults(run=_export_lms)


def _chosen(args: argparse.Namespace) -> tuple[Any, str]:
    from attnbook.grading.assignment import read_assignment, read_seed

    with input_errors():
        assignment = read_assignment(args.assignment, args.chapters, args.exercises)
        return assignment, read_seed(args.out, args.seed_file)


def _export_gradescope(args: argparse.Namespace) -> None:
    from attnbook.grading.exports import write_gradescope

    outputs.check_output(args.out, overwrite=True)
    write_gradescope(args.out, *_chosen(args))
    print(args.out)


def _export_otter(args: argparse.Namespace) -> None:
    from attnbook.grading.exports import write_otter

    for path in write_otter(args.out, *_chosen(args)):
        print(path)


def _export_lms(args: argparse.Namespace) -> None:
    from attnbook.grading.reports import lms_table, printable

    grades = args.grades / "grades.json" if args.grades.is_dir() else args.grades
    outputs.check_output(args.out, overwrite=True)
    with input_errors():
        table, strangers, without = lms_table(grades, args.roster, args.system, args.title)
    outputs.write_text(args.out, table)
    print(args.out)
    for name in strangers:
        print(f"not in the roster: {printable(name)}", file=sys.stderr)
    for name in without:
        print(f"no grade for: {printable(name)}", file=sys.stderr)
