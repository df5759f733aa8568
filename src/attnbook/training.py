"""One training loop for every translator: progress, early stopping, and resuming after a kill."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from attnbook.attention import Attention
from attnbook.batches import Batch, Example, bucketed_batches, collate
from attnbook.corpora import SentencePair
from attnbook.distributed import ALONE, ProcessGroup
from attnbook.seq2seq import Translator
from attnbook.settings import TrainingConfig

__all__ = ["Epoch", "History", "Stopped", "TrainingConfig", "pick_device", "train"]


def pick_device(name: str | None = None) -> torch.device:
    """The device to run on: the one named, else a CUDA GPU, else Apple's, else the CPU.

    Where none is named, the environment variable ``ATTNBOOK_DEVICE`` may name one.

    Raises:
        ValueError: torch knows no such device, or this machine has none.
    """
    name = name or os.environ.get("ATTNBOOK_DEVICE")
    if name:
        try:
            device = torch.device(name)
            counts = {
                "cpu": 1,
                "cuda": torch.cuda.device_count(),
                "mps": int(torch.backends.mps.is_available()),
            }
            present = counts.get(device.type, 1)
            if device.type not in counts:
                float(torch.ones(1, device=device))  # torch knows names that it cannot compute on
        except (RuntimeError, AssertionError, ImportError) as error:
            raise ValueError(f"device must be cpu, cuda, cuda:1 or mps; got {name!r}") from error
        if (device.index or 0) >= present:
            raise ValueError(
                f"device {name} is not there: torch {torch.__version__} sees {present} of its kind "
                "on this machine; cpu always works"
            )
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data came to; losses in nats per token, without smoothing."""

    number: int
    training_loss: float
    validation_loss: float
    tokens_per_second: float


@dataclass
class History:
    """All epochs so far, and the best."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest validation loss."""
        return min(self.epochs, key=lambda epoch: epoch.validation_loss)


def train(
    translator: Translator,
    training_pairs: Sequence[SentencePair],
    validation_pairs: Sequence[SentencePair],
    settings: TrainingConfig = TrainingConfig(),  # frozen
    *,
    folder: str | Path | None = None,
    progress: bool = True,
    after_epoch: Callable[[Epoch], None] | None = None,
    process_group: ProcessGroup = ALONE,
) -> History:
    """Minimise the cross-entropy of the right next word; keep the best epoch's weights.

    The translator is trained where it lies (move it with ``.to(device)`` first) and ends with
    the weights of the epoch whose validation loss was lowest.

    Args:
        translator: trained in place.
        training_pairs: what it learns from.
        validation_pairs: what decides which epoch was best.
        settings: see :class:`TrainingConfig`. Its seed orders the batches; seed the initial weights
            yourself with ``torch.manual_seed`` before building the translator.
        folder: keep the state of the run there. A run that was killed and is started again with
            the same folder and settings goes on where the last state was kept, and ends with the
            same weights as one that was never killed. Only ``epochs``, ``patience`` and
            ``save_every`` may be others; other epochs give what is left of the run another course
            of the learning rate. An interrupt (Ctrl-C) or SIGTERM waits for the end of the step
            and keeps the state before :class:`Stopped` is raised; a second one does not wait.
        progress: show a bar with loss, tokens a second and the time left.
        after_epoch: called with each finished epoch.
        process_group: the processes that train this model together, from
            :func:`attnbook.distributed.process_group`. All call this function with the same
            arguments; a batch is shared out among them, and only the first shows progress, keeps
            the state and calls ``after_epoch``.

    Raises:
        ValueError: no pairs, a precision that the device lacks, BPE-dropout for a model of whole
            words, or a folder with a run of other settings, of other pairs, or with a state that
            cannot be read.
        FloatingPointError: the loss is NaN or infinite.
        Stopped: it was interrupted; the translator has the best weights so far.
    """
    if not training_pairs or not validation_pairs:
        raise ValueError("training and validation both need at least one sentence pair")
    if settings.precision == "fp16" and translator.device.type == "cpu":
        raise ValueError("precision fp16 needs a GPU; on a CPU use bf16 or fp32")
    examples, held_out = map(translator.examples, (training_pairs, validation_pairs))
    run = _Run(
        translator, settings, examples, Path(folder) if folder else None, process_group, held_out
    )
    if settings.bpe_dropout:
        run.cut_anew(training_pairs)
    run.resume()
    validation = [
        collate([held_out[number] for number in numbers])
        for numbers in bucketed_batches(held_out, settings.batch_tokens, seed=0)
    ]
    shown = progress and process_group.is_main
    bar = tqdm(total=run.total_steps, initial=run.step, unit="step", disable=not shown)
    try:
        with bar, run.interrupts_wait():
            while run.epoch < settings.epochs and not run.out_of_patience():
                run.one_epoch(bar)
                epoch = run.finish_epoch(validation)
                bar.set_postfix_str(
                    f"epoch {epoch.number}: training {epoch.training_loss:.3f}, validation "
                    f"{epoch.validation_loss:.3f} nats/token, "
                    f"{epoch.tokens_per_second:,.0f} tokens/s"
                )
                if after_epoch and process_group.is_main:
                    after_epoch(epoch)
                run.stop_if_interrupted()
    finally:
        if run.best_weights:
            translator.load_state_dict(run.best_weights)
            translator.eval()
    return run.history


class Stopped(KeyboardInterrupt):
    """A training run was interrupted between two steps, and its state is kept.

    Attributes:
        history: the epochs that were finished.
    """

    def __init__(self, history: History) -> None:
        super().__init__("interrupted")
        self.history = history


class _Run:
    """The state of a training run: everything that has to survive a kill."""

    def __init__(
        self,
        translator: Translator,
        settings: TrainingConfig,
        examples: list[Example],
        folder: Path | None,
        process_group: ProcessGroup = ALONE,
        held_out: Sequence[Example] = (),
    ) -> None:
        self.translator = translator
        self.process_group = process_group
        self.objective: nn.Module = _Objective(translator)
        if process_group.world_size > 1:
            gpus = [process_group.local_rank] if translator.device.type == "cuda" else None
            self.objective = DistributedDataParallel(self.objective, device_ids=gpus)
        self.settings = settings
        self.examples = examples
        self.held_out = held_out
        self.dropped: Sequence[SentencePair] = ()
        self.path = folder / "state.pt" if folder else None
        self.device = translator.device
        # The batches of one epoch tell how many steps there will be; other epochs cut the same
        # lengths, and so have as many batches.
        per_epoch = len(bucketed_batches(examples, settings.batch_tokens, seed=0))
        self.total_steps = per_epoch * settings.epochs
        self.optimizer = torch.optim.Adam(
            translator.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            eps=1e-9,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=settings.precision == "fp16" and self.device.type == "cuda"
        )
        self.history = History()
        self.best_weights: dict[str, torch.Tensor] = {}
        self.epoch = 0
        self.step = 0
        self.done_in_epoch = 0
        self.nats = 0.0
        self.tokens = 0
        self.seconds = 0.0
        self.interrupted = False
        torch.manual_seed(settings.seed + 1_000_003 * process_group.rank)

    @contextmanager
    def interrupts_wait(self) -> Iterator[None]:
        """Let Ctrl-C and SIGTERM wait until a step is whole, where the state is kept in a folder.

        An exception in the middle of a step would leave weights that are half updated. Python
        hands signals to the main thread alone; in another one nothing is changed, and neither is
        it where somebody has already decided that Ctrl-C is to be ignored, as a shell does for
        what it runs in the background.
        """
        in_main = threading.current_thread() is threading.main_thread()
        before = {
            number: signal.getsignal(number)
            for number in (signal.SIGINT, signal.SIGTERM)
            if signal.getsignal(number) not in (signal.SIG_IGN, None)
        }
        if self.path is None or not in_main:
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop_if_interrupted(self) -> None:
        """Keep the state and stop, if Ctrl-C was pressed since the last step."""
        if self.interrupted:
            self.keep()
            raise Stopped(self.history)

    def one_epoch(self, bar: tqdm[Any]) -> None:
        """Go over the batches of this epoch that are still to be done."""
        self.translator.train()
        seed = self.settings.seed * 100_003 + self.epoch
        examples = self.examples_of_epoch(seed)
        batches = bucketed_batches(examples, self.settings.batch_tokens, seed=seed)
        started = time.perf_counter()
        for numbers in batches[self.done_in_epoch :]:
            self.one_step([examples[number] for number in numbers])
            self.done_in_epoch += 1
            bar.update()
            if self.step % 20 == 0:
                now = self.seconds + time.perf_counter() - started
                bar.set_postfix_str(
                    f"epoch {self.epoch + 1}: training {self.mean_loss():.3f} nats/token, "
                    f"{self.tokens / now:,.0f} tokens/s",
                    refresh=False,
                )
            if self.interrupted or (self.path and self.step % self.settings.save_every == 0):
                self.seconds += time.perf_counter() - started
                started = time.perf_counter()
                self.stop_if_interrupted()
                self.keep()
        self.seconds += time.perf_counter() - started

    def cut_anew(self, pairs: Sequence[SentencePair]) -> None:
        """Cut the words of these pairs into other pieces in every epoch.

        Other pieces are of other number, so that the steps of the first epoch tell only nearly how
        many there will be.
        """
        self.dropped = pairs
        first = self.examples_of_epoch(self.settings.seed * 100_003)
        per_epoch = len(bucketed_batches(first, self.settings.batch_tokens, seed=0))
        self.total_steps = per_epoch * self.settings.epochs

    def examples_of_epoch(self, seed: int) -> list[Example]:
        """The same in every epoch, unless merges are left out; the seed alone decides which."""
        if not self.dropped:
            return self.examples
        return self.translator.examples_with_dropout(self.dropped, self.settings.bpe_dropout, seed)

    def one_step(self, examples: Sequence[Example]) -> None:
        """One batch: loss, gradient, clipping, update.

        Of several processes each takes its share of the sentences. The objective is a mean over
        tokens and the gradients are averaged over processes, so a share's objective counts by its
        part of the batch's tokens, times the number of processes.
        """
        tokens = sum(len(target) + 1 for _, target in examples)
        # With fewer sentences than processes, those without one read one that counts nothing.
        mine = self.process_group.shard(examples)
        batch = collate(mine or examples[:1]).to(self.device)
        counts = self.process_group.world_size * batch.target_tokens / tokens if mine else 0.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self.rate_share()
        with _precision(self.settings.precision, self.device):
            objective, share = self.objective(batch, self.settings.label_smoothing)
        nats, interrupted = self.process_group.all_reduce(
            float(share) if mine else 0.0, float(self.interrupted)
        )
        self.interrupted = interrupted > 0  # of one, and so of all
        if not math.isfinite(nats):
            raise FloatingPointError(
                f"the loss is {nats} at step {self.step}; lower the learning rate "
                f"({self.settings.learning_rate}) or train in fp32"
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(counts * objective if counts != 1 else objective).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.translator.parameters(), self.settings.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.nats += nats
        self.tokens += tokens
        self.step += 1

    def rate_share(self) -> float:
        """The learning rate's share of its peak: a straight rise, then a half cosine down."""
        rise = self.settings.warmup * self.total_steps
        if self.step < rise:
            return (self.step + 1) / (rise + 1)
        left = (self.step - rise) / max(1.0, self.total_steps - rise)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, left)))

    def mean_loss(self) -> float:
        return self.nats / self.tokens

    def finish_epoch(self, validation: Sequence[Batch]) -> Epoch:
        """Validate, remember the best weights, and keep the state."""
        self.translator.eval()
        nats, tokens = 0.0, 0.0
        with torch.inference_mode():
            for batch in self.process_group.shard(validation):
                nats -= float(self.translator.log_probs(batch.to(self.device)).sum())
                tokens += batch.target_tokens
        nats, tokens = self.process_group.all_reduce(nats, tokens)
        epoch = Epoch(
            self.epoch + 1,
            self.mean_loss(),
            nats / tokens,
            self.tokens / max(self.seconds, 1e-9),
        )
        self.history.epochs.append(epoch)
        if self.history.best is epoch:
            self.best_weights = {
                name: tensor.detach().clone()
                for name, tensor in self.translator.state_dict().items()
            }
        self.epoch += 1
        self.done_in_epoch = 0
        self.nats, self.tokens, self.seconds = 0.0, 0, 0.0
        if self.path:
            self.keep()
        return epoch

    def out_of_patience(self) -> bool:
        if self.settings.patience is None or not self.history.epochs:
            return False
        return self.epoch - self.history.best.number >= self.settings.patience

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {
            "settings": {
                name: value
                for name, value in asdict(self.settings).items()
                if name not in ("epochs", "patience", "save_every")
            },
            "config": self.shape(),
            "score": [
                type(one.score).__name__
                for one in self.translator.decoder.attentions
                if isinstance(one, Attention)
            ],
            "processes": self.process_group.world_size,
            "examples": hashlib.sha256(repr(self.examples).encode()).hexdigest(),
            "validation": hashlib.sha256(repr(self.held_out).encode()).hexdigest(),
        }

    def shape(self) -> dict[str, Any]:
        """The translator's settings; of one put together by hand, the shapes of its weights."""
        if self.translator.config is not None:
            return self.translator.config.to_dict()
        return {name: list(one.shape) for name, one in self.translator.state_dict().items()}

    def differences(self, other: dict[str, Any]) -> str:
        """The names of what differs between this run and another one."""
        mine = self.identity()
        for part, name in (
            ("examples", "sentence pairs or vocabularies"),
            ("validation", "validation pairs"),
            ("processes", "numbers of processes"),
            ("score", "scores"),
        ):
            if mine[part] != other.get(part):
                return name
        return ", ".join(
            name
            for part in ("settings", "config")
            for name in mine[part]
            if mine[part][name] != other[part].get(name)
        )

    def keep(self) -> None:
        """Write the state beside the old one, then put it in its place, so that one is whole."""
        assert self.path is not None
        random = self.process_group.all_gather(torch.get_rng_state())
        if not self.process_group.is_main:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        torch.save(
            {
                "identity": self.identity(),
                "weights": self.translator.state_dict(),
                "best_weights": self.best_weights,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "history": [asdict(epoch) for epoch in self.history.epochs],
                "counters": {
                    name: getattr(self, name)
                    for name in ("epoch", "step", "done_in_epoch", "nats", "tokens", "seconds")
                },
                "random": random,
                "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
            unfinished,
        )
        os.replace(unfinished, self.path)

    def resume(self) -> None:
        """Take up the state of an earlier run, if there is one."""
        if self.path is None or not self.path.exists():
            return
        try:
            state = torch.load(self.path, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, UnpicklingError) as error:
            raise ValueError(
                f"{self.path} is not the whole state of a run ({error}); delete it to start anew"
            ) from error
        if not isinstance(state, dict) or not {"identity", "weights", "counters"} <= set(state):
            raise ValueError(
                f"{self.path} is not the state of a run of attnbook; give this run another folder"
            )
        if state["identity"] != self.identity():
            raise ValueError(
                f"{self.path} belongs to a run with other {self.differences(state['identity'])}; "
                "give this run another folder, or delete that one to start anew"
            )
        self.translator.load_state_dict(state["weights"])
        self.best_weights = state["best_weights"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = History([Epoch(**epoch) for epoch in state["history"]])
        for name, value in state["counters"].items():
            setattr(self, name, value)
        torch.set_rng_state(state["random"][self.process_group.rank].cpu())
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all([seed.cpu() for seed in state["cuda_random"]])


class _Objective(nn.Module):
    """The loss as a module's forward pass, which is what ``DistributedDataParallel`` wraps."""

    def __init__(self, translator: Translator) -> None:
        super().__init__()
        self.translator = translator

    def forward(self, batch: Batch, label_smoothing: float) -> tuple[Tensor, Tensor]:
        objective, nats, _ = self.translator.loss(batch, label_smoothing)
        return objective, nats


def _precision(name: str, device: torch.device) -> Any:
    if name == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if name == "bf16" else torch.float16)
