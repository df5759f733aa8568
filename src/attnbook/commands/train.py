"""``attnbook train``: from sentence pairs to a translator in a file."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from attnbook import __version__
from attnbook.commands import outputs, shared
from attnbook.commands.parser import number, shown
from attnbook.commands.shared import emit, say
from attnbook.errors import UserError, input_errors
from attnbook.settings import (
    COUNT,
    FAMILIES,
    RecurrentConfig,
    SharedConfig,
    TrainingConfig,
    TransformerConfig,
    TranslatorConfig,
    config_of,
    family,
)

if TYPE_CHECKING:
    from attnbook.corpora import SentencePair
    from attnbook.distributed import ProcessGroup
    from attnbook.seq2seq import Translator
    from attnbook.training import Epoch, History

__all__ = ["add"]

# What the command does where it is not told otherwise. The classes' defaults are the plain models
# of the papers and learn too little from 2,000 captions (book/results/little_data.py). The same for
# all data, by family of the decoder.
USUAL: dict[str, dict[str, Any]] = {
    "recurrent": {
        "bidirectional": True,
        "dropout": 0.4,
        "embedding_std": 1.0,
        "epochs": 40,
        "batch_tokens": 400,
        "learning_rate": 3e-3,
    },
    "transformer": {
        "hidden_dim": 128,
        "layers": 2,
        "dropout": 0.3,
        "epochs": 40,
        "batch_tokens": 400,
        "learning_rate": 2e-3,
    },
}
# Rarer words are read as <unk>: of a word that was seen once nothing can be learned but that it is
# rare, and <unk> has to be met in training.
MIN_COUNT = 2


# --- flags ----------------------------------------------------------------------------------------


def add(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook train`` its flags."""
    parser.description = (
        "Train a translator on sentence pairs and write it to one file. Ctrl-C or SIGTERM ends "
        "with the best model so far in that file; the same command given again goes on where the "
        "run stopped, also with more --epochs."
    )
    parser.epilog = (
        "Several processes or GPUs: `torchrun --nproc-per-node 2 -m attnbook train …`. Examples: "
        "`attnbook train --data train.de train.en --validation val.de val.en`; "
        "`attnbook train --data multi30k --decoder cho --output cho.safetensors`; a small model, "
        "in a minute on a laptop: `attnbook train --data grammar --embedding-dim 32 --hidden-dim "
        "96 --dropout 0.1 --epochs 12 --batch-tokens 600 --learning-rate 0.01`."
    )
    shared.add_data(parser)
    data = parser.add_argument_group("vocabulary and validation")
    data.add_argument(
        "--validation",
        nargs=2,
        metavar=("SRC", "TGT"),
        help="two text files that decide which epoch was best; needed with two training files",
    )
    data.add_argument(
        "--min-count",
        type=number(int, COUNT),
        metavar="N",
        help=f"a rarer word is read as <unk>, on both sides (default: {MIN_COUNT}; with subwords "
        "no word is)",
    )
    data.add_argument(
        "--max-words",
        type=number(int, COUNT),
        metavar="N",
        help="keep at most so many words, the most frequent, on each side",
    )
    data.add_argument(
        "--subwords",
        type=number(int, COUNT),
        metavar="N",
        help="cut words into pieces, at most N a side, learned by byte-pair encoding, so that "
        "hardly any word is unknown (Sennrich et al. 2016). Each side learns its own, because the "
        "model has a vocabulary for each",
    )
    shared_names = {field.name for field in fields(SharedConfig)}
    _add_settings(parser.add_argument_group("the model"), SharedConfig)
    for title, settings in (
        (f"the model, where the decoder is {_either(FAMILIES['recurrent'])}", RecurrentConfig),
        ("the model, where the decoder is transformer", TransformerConfig),
    ):
        _add_settings(parser.add_argument_group(title), settings, leave_out=shared_names)
    _add_settings(parser.add_argument_group("training"), TrainingConfig)
    files = parser.add_argument_group("where and how")
    shared.add_device(files)
    files.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="file of the finished model (default: DATA-SCORE.safetensors, here)",
    )
    shared.add_overwrite(files)
    files.add_argument(
        "--half", action="store_true", help="store the weights in 16 bits, half the size"
    )
    files.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="keep the state of the unfinished run there (default: runs/ and the output's name); "
        "it is removed when the model is written",
    )
    files.add_argument(
        "--start-from",
        metavar="MODEL",
        help="begin with the weights, the words and the shape of this model (fine-tuning)",
    )
    files.add_argument(
        "--log",
        type=Path,
        metavar="FILE.csv",
        help="a line for every epoch, as it is finished (default: beside the output)",
    )
    files.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="draw the loss of every epoch at the end"
    )
    files.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_run)


def _add_settings(group: Any, settings: type[Any], leave_out: Collection[str] = ()) -> None:
    """A flag for each field of a settings class, but for those that are left out."""
    hints = get_type_hints(settings)
    for field in fields(settings):
        if field.name in leave_out:
            continue
        kind, known = hints[field.name], field.metadata
        meaning, default = known["help"].replace("%", "%%"), _usual(settings, field)
        options: dict[str, Any] = {
            "help": f"{meaning} (default: {default})" if default else meaning,
            # Absent unless given, so that what is given can be told from what is usual.
            "default": argparse.SUPPRESS,
        }
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif known["choices"]:
            options["choices"] = known["choices"]
        else:
            number_kind = get_args(kind)[0] if isinstance(kind, UnionType) else kind
            options["type"] = number(number_kind, known["limits"])
            options["metavar"] = {int: "N", float: "X"}[number_kind]
        group.add_argument(_flag(field.name), **options)


def _usual(settings: type[Any], field: Field[Any]) -> str:
    """What a setting is where no flag is given, as help texts show it."""
    families = {RecurrentConfig: ["recurrent"], TransformerConfig: ["transformer"]}
    values = {
        kin: USUAL[kin].get(field.name, field.default) for kin in families.get(settings, USUAL)
    }
    first, *others = dict.fromkeys(values.values())
    text = "" if first is None else shown(first)
    return text + "".join(f"; transformer: {shown(one)}" for one in others if one is not None)


def _either(words: Sequence[str]) -> str:
    """Words as a choice: "a, b or c"."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


# --- what flags name ------------------------------------------------------------------------------


def _config(args: argparse.Namespace) -> TranslatorConfig:
    """The flags that were given, then what is usual for the family, then the class's defaults.

    Raises:
        UserError: a flag that the decoder does not have, or a value that cannot be.
    """
    if args.start_from:
        return _config_of_model(args)
    if args.subwords is not None and (args.min_count or args.max_words):
        raise UserError("--subwords decides the vocabulary; leave out --min-count and --max-words")
    if getattr(args, "bpe_dropout", 0) and args.subwords is None:
        raise UserError("--bpe-dropout leaves out merges of --subwords; give that, too")
    decoder = getattr(args, "decoder", SharedConfig.decoder)
    owners = _decoders_of_settings()
    for name, decoders in owners.items():
        if hasattr(args, name) and decoder not in decoders:
            raise UserError(
                f"{_flag(name)} belongs to --decoder {_either(decoders)}; "
                f"this is --decoder {decoder}"
            )
    values = USUAL[family(decoder)] | vars(args)
    with input_errors():
        config = config_of(
            {n: values[n] for n, decoders in owners.items() if n in values and decoder in decoders}
        )
    if (
        isinstance(config, RecurrentConfig)
        and hasattr(args, "attention_dim")
        and config.score not in ("concat", "additive")
    ):
        raise UserError(
            f"--attention-dim belongs to --score concat or additive; this is --score {config.score}"
        )
    return config


def _decoders_of_settings() -> dict[str, tuple[str, ...]]:
    """For each setting of a model the decoders that have it."""
    owners: dict[str, tuple[str, ...]] = {}
    for config, decoders in (
        (RecurrentConfig, FAMILIES["recurrent"]),
        (TransformerConfig, FAMILIES["transformer"]),
    ):
        for field in fields(config):
            having = tuple(one for one in decoders if one in field.metadata["decoders"])
            owners[field.name] = owners.get(field.name, ()) + having
    return owners


def _config_of_model(args: argparse.Namespace) -> TranslatorConfig:
    """The shape of the model that a run starts from, which no flag can change."""
    from attnbook import checkpoints

    given = [_flag(name) for name in _decoders_of_settings() if hasattr(args, name)]
    given += ["--min-count"] if args.min_count else []
    given += ["--max-words"] if args.max_words else []
    given += ["--subwords"] if args.subwords is not None else []
    if given:
        raise UserError(
            f"--start-from takes the shape and the words of {args.start_from}; leave out "
            + ", ".join(given)
        )
    with input_errors():
        config = checkpoints.load(args.start_from).config
    assert config is not None  # a file holds no other
    return config


def _training(args: argparse.Namespace, config: TranslatorConfig) -> TrainingConfig:
    values = USUAL[family(config.decoder)] | vars(args)
    known = [field.name for field in fields(TrainingConfig) if field.name in values]
    with input_errors():
        return TrainingConfig(**{name: values[name] for name in known})


@dataclass(frozen=True)
class _Places:
    """The files of one run: the model, and the state of the run as long as it is unfinished."""

    output: Path
    folder: Path
    log: Path
    plot: Path | None

    @property
    def state(self) -> Path:
        return self.folder / "state.pt"


def _places(args: argparse.Namespace, config: TranslatorConfig) -> _Places:
    kind = args.data[0] if len(args.data) == 1 else "files"
    scored: str = config.decoder
    if isinstance(config, RecurrentConfig) and config.decoder == "luong":
        scored = config.score
    output: Path = args.output or Path(f"{kind}-{scored}.safetensors")
    log: Path = args.log or output.parent / f"{output.stem}.csv"
    return _Places(output, args.folder or Path("runs") / output.stem, log, args.plot)


def _check_places(args: argparse.Namespace, places: _Places) -> None:
    """Refuse outputs that could not be written at the end, before the work begins.

    What an unfinished run of the same name has left is replaced when it goes on.
    """
    going_on = places.state.exists()
    outputs.check_output(places.output, overwrite=args.overwrite or _unfinished(places))
    outputs.check_output(places.log, overwrite=args.overwrite or going_on)
    if places.plot:
        if places.plot.suffix != ".svg":
            raise UserError(f"--plot draws SVG; name a file that ends in .svg, not {places.plot}")
        outputs.check_output(places.plot, overwrite=args.overwrite or going_on)


def _unfinished(places: _Places) -> bool:
    """Whether the output is what a stopped run, which is still kept, had come to."""
    if not (places.state.exists() and places.output.is_file()):
        return False
    from attnbook import checkpoints

    try:
        return checkpoints.read_card(places.output).get("finished") is False
    except ValueError:  # somebody else's file
        return False


# --- run ------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> None:
    _check_launch()
    config = _config(args)
    settings = _training(args, config)
    places = _places(args, config)
    _check_places(args, places)
    from attnbook.distributed import process_group

    with process_group() as processes, ExitStack() as held:
        if processes.is_main:
            held.enter_context(_held(places, tidy=args.folder is None))
        _train(args, config, settings, places, processes)


def _check_launch() -> None:
    """Refuse half of what torchrun sets in the environment, which would end in a long wait."""
    size = os.environ.get("WORLD_SIZE", "1")
    if size == "1":
        return
    names = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if name not in os.environ]
    if missing or not size.isdecimal():
        reason = f"{', '.join(missing)} is not" if missing else "that is no number"
        raise UserError(
            f"WORLD_SIZE is set to {size!r} and {reason}; start several processes by torchrun, "
            "or unset WORLD_SIZE"
        )


@contextmanager
def _held(places: _Places, *, tidy: bool) -> Iterator[None]:
    """Keep other trainings away from the run's files; ``tidy`` removes its folder once empty."""
    outputs.check_folder(places.folder)
    beside = places.output.with_name(f".{places.output.name}.lock")
    try:
        with (
            outputs.locked(beside, f"trains {places.output}"),
            outputs.locked(places.folder / ".lock", f"keeps its run in {places.folder}"),
        ):
            yield
    finally:
        if tidy:
            with suppress(OSError):  # the run is unfinished, or others are kept beside it
                places.folder.rmdir()
                places.folder.parent.rmdir()


def _train(
    args: argparse.Namespace,
    config: TranslatorConfig,
    settings: TrainingConfig,
    places: _Places,
    processes: ProcessGroup,
) -> None:
    """Read, train, write: the work of each process."""
    import torch

    device = shared.device(args)
    if processes.world_size > 1 and device.type == "cuda":
        device = torch.device("cuda", processes.local_rank)
    if settings.precision == "fp16" and device.type == "cpu":
        raise UserError("--precision fp16 needs a GPU; on a CPU use bf16 or fp32")
    training_pairs, validation_pairs = _read(args)
    torch.manual_seed(settings.seed)
    translator = _built(args, config, training_pairs, places.output.stem).to(device)
    if processes.is_main:
        _announce(translator, (training_pairs, validation_pairs), places, processes)
    log = _Log(places.log, time.perf_counter())

    def write(history: History, *, finished: bool) -> None:
        card = _card(args, translator, settings, history, processes) | {
            "training_pairs": len(training_pairs),
            "validation_pairs": len(validation_pairs),
            "seconds_since_last_start": round(time.perf_counter() - log.started, 1),
            "finished": finished,
        }
        _write(args, translator, card, places)
        if places.plot:
            _plot(history, places.plot)

    pairs = (training_pairs, validation_pairs)
    try:
        history = _fitted(args, translator, pairs, settings, places, processes, log)
    except KeyboardInterrupt as stop:
        if processes.is_main:
            _tell_stopped(args, stop, places, write)
        raise
    if not processes.is_main:
        return
    write(history, finished=True)
    places.state.unlink(missing_ok=True)
    say(
        f"best epoch: {history.best.number}, validation {history.best.validation_loss:.3f} "
        "nats/token; written to:"
    )
    emit(str(places.output))


def _tell_stopped(
    args: argparse.Namespace,
    stop: KeyboardInterrupt,
    places: _Places,
    write: Callable[..., None],
) -> None:
    """Keep the best model of a run that was stopped, and say how to go on."""
    history: History | None = getattr(stop, "history", None)
    if history is not None and history.epochs:
        write(history, finished=False)
        say(
            f"stopped; the best model so far (epoch {history.best.number}, validation "
            f"{history.best.validation_loss:.3f} nats/token) is in {places.output}"
        )
    say(f"stopped; the run is kept in {places.folder}. The same command goes on from there:")
    say(f"  {args.command_line}")


def _card(
    args: argparse.Namespace,
    translator: Translator,
    settings: TrainingConfig,
    history: History,
    processes: ProcessGroup,
) -> dict[str, Any]:
    """What is worth knowing of a model, beside its weights."""
    import torch

    return {
        "command": args.command_line,
        "data": shared.describe(args, "train"),
        "started_from": args.start_from,
        "settings": asdict(settings),
        "parameters": translator.count_parameters(),
        "best_epoch": asdict(history.best),
        "epochs": [asdict(epoch) for epoch in history.epochs],
        "device": str(translator.device),
        "processes": processes.world_size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "attnbook": __version__,
    }


class _Log:
    """A line for every epoch, in a file and for the person at the terminal.

    Args:
        path: of the CSV file. One of an earlier part of the run goes on.
        started: when this part began, by ``time.perf_counter``.
    """

    def __init__(self, path: Path, started: float) -> None:
        self.path, self.started = path, started

    def __call__(self, epoch: Epoch) -> None:
        """Write down a finished epoch, in place of an older line about it."""
        from tqdm.auto import tqdm

        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines[1:] if int(line.partition(",")[0]) < epoch.number]
        new = ",".join(str(value) for value in asdict(epoch).values())
        text = "\n".join([",".join(asdict(epoch)), *kept, new]) + "\n"
        outputs.write_text(self.path, text)
        with tqdm.external_write_mode(sys.stderr):
            say(
                f"epoch {epoch.number}: training {epoch.training_loss:.3f}, validation "
                f"{epoch.validation_loss:.3f} nats/token, {epoch.tokens_per_second:,.0f} tokens/s"
            )


def _plot(history: History, path: Path) -> None:
    """Draw the loss of every epoch."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    from attnbook import plots

    with plots.style():
        figure, ax = plt.subplots()
        numbers = [epoch.number for epoch in history.epochs]
        for name in ("training", "validation"):
            losses = [getattr(epoch, f"{name}_loss") for epoch in history.epochs]
            ax.plot(numbers, losses, marker="o", label=name)
        ax.axvline(history.best.number, linestyle=":", color="0.5")
        ax.set_xlabel(f"epoch (best: {history.best.number})")
        ax.set_ylabel("nats per token")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
        outputs.write(path, lambda place: plots.save(figure, place))
        plt.close(figure)


def _announce(
    translator: Translator,
    pairs: tuple[list[SentencePair], list[SentencePair]],
    places: _Places,
    processes: ProcessGroup,
) -> None:
    """Say what will be trained, on what and where."""
    say(
        f"{len(pairs[0]):,} pairs, {len(pairs[1]):,} for validation; "
        f"{len(translator.source_vocabulary):,} and {len(translator.target_vocabulary):,} "
        f"{'words' if translator.source_subwords is None else 'pieces of words'}; "
        f"{translator.count_parameters():,} parameters; on {translator.device}"
        + (f" and {processes.world_size - 1} more processes" if processes.world_size > 1 else "")
    )
    if places.state.exists():
        say(f"going on with the run in {places.folder}")


def _read(args: argparse.Namespace) -> tuple[list[SentencePair], list[SentencePair]]:
    """The pairs to train on, and those that decide which epoch was best."""
    from attnbook.corpora import read_parallel

    if not args.validation:
        training_pairs, validation_pairs = shared.pairs(args, "train", "val")
        return training_pairs, validation_pairs
    with input_errors():
        validation_pairs = read_parallel(*args.validation, pretokenized=args.pretokenized)
    (training_pairs,) = shared.pairs(args, "train")
    return training_pairs, validation_pairs


def _built(
    args: argparse.Namespace, config: TranslatorConfig, pairs: list[SentencePair], name: str
) -> Translator:
    """A translator that knows the words of the pairs; or the one to start from."""
    from attnbook import checkpoints
    from attnbook.seq2seq import Translator
    from attnbook.subwords import Subwords
    from attnbook.vocabulary import Vocabulary

    if args.start_from:
        with input_errors():
            translator = checkpoints.load(args.start_from)
        translator.name = name
        return translator
    sides = [pair.source for pair in pairs], [pair.target for pair in pairs]
    if args.subwords is not None:
        with input_errors():
            one, other = (Subwords.learn(side, args.subwords) for side in sides)
        source, target = Vocabulary(one.pieces), Vocabulary(other.pieces)
        return Translator.from_config(
            config, source, target, name=name, source_subwords=one, target_subwords=other
        )
    source, target = (
        Vocabulary.from_sentences(
            side, min_count=args.min_count or MIN_COUNT, max_size=args.max_words
        )
        for side in sides
    )
    return Translator.from_config(config, source, target, name=name)


def _fitted(
    args: argparse.Namespace,
    translator: Translator,
    pairs: tuple[list[SentencePair], list[SentencePair]],
    settings: TrainingConfig,
    places: _Places,
    processes: ProcessGroup,
    log: _Log,
) -> History:
    """Train, and tell a user's errors from faults of the package."""
    from attnbook.training import train

    try:
        return train(
            translator,
            *pairs,
            settings,
            folder=places.folder,
            progress=not args.quiet,
            after_epoch=log,
            process_group=processes,
        )
    except FloatingPointError as error:
        raise UserError(str(error)) from error
    except ValueError as error:
        if not str(error).startswith(str(places.state)):  # so it says that this is another run's
            raise
        raise UserError(str(error)) from error
    except RuntimeError as error:
        if "inline_container" not in str(error):  # so torch says that a file took no more
            raise
        raise OSError(
            f"{places.state}: the state of the run could not be written; is the disk full? The "
            "same command goes on from the last state that was"
        ) from error


def _write(
    args: argparse.Namespace, translator: Translator, card: dict[str, Any], places: _Places
) -> None:
    """The model into its file."""
    from attnbook import checkpoints

    def write_to(path: Path) -> None:
        checkpoints.save(translator, path, card=card, half=args.half)

    outputs.write(places.output, write_to)
