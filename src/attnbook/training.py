"""One training loop for every translator: progress, early stopping, and resuming after a kill."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from attnbook.attention import Attention
from attnbook.batches import Batch, Example, bucketed_batches, collate
from attnbook.corpora import SentencePair
from attnbook.distributed import ALONE, ProcessGroup
from attnbook.run_state import Interrupts, StateFile
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

    def examples_of(seed: int) -> list[Example]:
        """Those of an epoch: always the same, unless BPE-dropout cuts words into other pieces."""
        if not settings.bpe_dropout:
            return examples
        return translator.examples_with_dropout(training_pairs, settings.bpe_dropout, seed)

    file = None
    if folder:
        identity = _identity(translator, settings, examples, held_out, process_group)
        file = StateFile(Path(folder) / "state.pt", identity)
    validation = [
        collate([held_out[number] for number in numbers])
        for numbers in bucketed_batches(held_out, settings.batch_tokens, seed=0)
    ]
    # The caller's random numbers go on as if nobody had trained.
    gpus = [translator.device] if translator.device.type == "cuda" else []
    with torch.random.fork_rng(gpus), Interrupts(wait=file is not None) as interrupts:
        run = _Run(translator, settings, examples_of, file, process_group, interrupts)
        run.resume()
        shown = progress and process_group.is_main
        bar = tqdm(total=run.total_steps, initial=run.state.step, unit="step", disable=not shown)
        try:
            with bar:
                while run.state.epoch < settings.epochs and not run.out_of_patience():
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
            if run.state.best_weights:
                translator.load_state_dict(run.state.best_weights)
                translator.eval()
        return run.state.history


class Stopped(KeyboardInterrupt):
    """A training run was interrupted between two steps, and its state is kept.

    Attributes:
        history: the epochs that were finished.
    """

    def __init__(self, history: History) -> None:
        super().__init__("interrupted")
        self.history = history


@dataclass
class _State:
    """How far a run has come; nats, tokens and seconds are those of the epoch under way."""

    history: History = field(default_factory=History)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    epoch: int = 0
    step: int = 0
    done_in_epoch: int = 0
    nats: float = 0.0
    tokens: int = 0
    seconds: float = 0.0

    COUNTERS = ("epoch", "step", "done_in_epoch", "nats", "tokens", "seconds")

    def mean_loss(self) -> float:
        return self.nats / self.tokens

    def close_epoch(self, validation_loss: float, weights: dict[str, Tensor]) -> Epoch:
        """Write down the epoch that is over, with its weights if it is the best."""
        self.epoch += 1
        speed = self.tokens / max(self.seconds, 1e-9)
        epoch = Epoch(self.epoch, self.mean_loss(), validation_loss, speed)
        self.history.epochs.append(epoch)
        if self.history.best is epoch:
            self.best_weights = {name: one.clone() for name, one in weights.items()}
        self.done_in_epoch, self.nats, self.tokens, self.seconds = 0, 0.0, 0, 0.0
        return epoch

    def to_dict(self) -> dict[str, Any]:
        return {
            "best_weights": self.best_weights,
            "history": [asdict(epoch) for epoch in self.history.epochs],
            "counters": {name: getattr(self, name) for name in self.COUNTERS},
        }

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> _State:
        history = History([Epoch(**epoch) for epoch in kept["history"]])
        return cls(history, kept["best_weights"], **kept["counters"])


class _Run:
    """The loop: how a model learns from a batch, an epoch, and goes on where a state was kept."""

    # Steps between two looks at the loss: a GPU would have to wait for each of them.
    LOOK = 20

    def __init__(
        self,
        translator: Translator,
        settings: TrainingConfig,
        examples_of: Callable[[int], list[Example]],
        file: StateFile | None = None,
        process_group: ProcessGroup = ALONE,
        interrupts: Interrupts | None = None,
    ) -> None:
        self.translator = translator
        self.settings = settings
        self.examples_of = examples_of
        self.file = file
        self.process_group = process_group
        self.interrupts = interrupts or Interrupts(wait=False)
        self.device = translator.device
        self.objective: nn.Module = _Objective(translator)
        if process_group.world_size > 1:
            gpus = [process_group.local_rank] if self.device.type == "cuda" else None
            self.objective = DistributedDataParallel(self.objective, device_ids=gpus)
        # The batches of the first epoch tell how many steps there will be: exactly, unless
        # BPE-dropout gives each epoch pieces of another number.
        per_epoch = len(bucketed_batches(examples_of(self.seed(0)), settings.batch_tokens, seed=0))
        self.total_steps = per_epoch * settings.epochs
        self.optimizer = torch.optim.Adam(
            translator.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            eps=1e-9,
            fused=True,
        )
        self.schedule = LambdaLR(self.optimizer, self.rate_share)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=settings.precision == "fp16" and self.device.type == "cuda"
        )
        self.state = _State()
        self.losses: list[Tensor | float] = []  # of steps that nobody has looked at yet
        torch.manual_seed(settings.seed + 1_000_003 * process_group.rank)

    def seed(self, epoch: int) -> int:
        return self.settings.seed * 100_003 + epoch

    def rate_share(self, step: int) -> float:
        """The learning rate's share of its peak: a straight rise, then a half cosine down."""
        rise = self.settings.warmup * self.total_steps
        if step < rise:
            return (step + 1) / (rise + 1)
        left = (step - rise) / max(1.0, self.total_steps - rise)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, left)))

    def one_epoch(self, bar: tqdm[Any]) -> None:
        """Go over the batches of this epoch that are still to be done."""
        self.translator.train()
        state, seed = self.state, self.seed(self.state.epoch)
        examples = self.examples_of(seed)
        batches = bucketed_batches(examples, self.settings.batch_tokens, seed=seed)
        started = time.perf_counter()
        for numbers in batches[state.done_in_epoch :]:
            self.one_step([examples[number] for number in numbers])
            state.done_in_epoch += 1
            bar.update()
            if state.step % self.LOOK == 0:
                self.look_at_losses()
                now = state.seconds + time.perf_counter() - started
                bar.set_postfix_str(
                    f"epoch {state.epoch + 1}: training {state.mean_loss():.3f} nats/token, "
                    f"{state.tokens / now:,.0f} tokens/s",
                    refresh=False,
                )
            due = self.file is not None and state.step % self.settings.save_every == 0
            if self.interrupts.arrived or due:
                self.look_at_losses()
                state.seconds += time.perf_counter() - started
                started = time.perf_counter()
                self.stop_if_interrupted()
                self.keep()
        self.look_at_losses()
        state.seconds += time.perf_counter() - started

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
        with _precision(self.settings.precision, self.device):
            objective, nats = self.objective(batch, self.settings.label_smoothing)
        self.losses.append(nats.detach())
        if self.process_group.world_size > 1:
            self.losses[-1], interrupted = self.process_group.all_reduce(
                float(nats) if mine else 0.0, float(self.interrupts.arrived)
            )
            self.interrupts.arrived = interrupted > 0  # at one, and so at all
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(counts * objective if counts != 1 else objective).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.translator.parameters(), self.settings.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.state.tokens += tokens
        self.state.step += 1

    def look_at_losses(self) -> None:
        """Add up the losses of the last steps.

        Raises:
            FloatingPointError: one of them is NaN or infinite.
        """
        first = self.state.step - len(self.losses)
        for step, nats in enumerate(map(float, self.losses), start=first):
            if not math.isfinite(nats):
                raise FloatingPointError(
                    f"the loss is {nats} at step {step}; lower the learning rate "
                    f"({self.settings.learning_rate}) or train in fp32"
                )
            self.state.nats += nats
        self.losses.clear()

    def finish_epoch(self, validation: Sequence[Batch]) -> Epoch:
        """Validate, remember the best weights, and keep the state."""
        self.translator.eval()
        nats, tokens = 0.0, 0.0
        with torch.inference_mode():
            for batch in self.process_group.shard(validation):
                nats -= float(self.translator.log_probs(batch.to(self.device)).sum())
                tokens += batch.target_tokens
        nats, tokens = self.process_group.all_reduce(nats, tokens)
        epoch = self.state.close_epoch(nats / tokens, self.translator.state_dict())
        self.keep()
        return epoch

    def out_of_patience(self) -> bool:
        state = self.state
        if self.settings.patience is None or not state.history.epochs:
            return False
        return state.epoch - state.history.best.number >= self.settings.patience

    def stop_if_interrupted(self) -> None:
        """Keep the state and stop, if Ctrl-C was pressed since the last step."""
        if self.interrupts.arrived:
            self.keep()
            raise Stopped(self.state.history)

    def keep(self) -> None:
        """Write the state of the run, if it has a file; all processes must call it."""
        if self.file is None:
            return
        random = self.process_group.all_gather(torch.get_rng_state())
        if self.process_group.is_main:
            self.file.write(
                self.state.to_dict()
                | {
                    "weights": self.translator.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.scaler.state_dict(),
                    "random": random,
                    "cuda_random": torch.cuda.get_rng_state_all()
                    if torch.cuda.is_available()
                    else [],
                }
            )

    def resume(self) -> None:
        """Take up the state of an earlier run, if there is one."""
        kept = self.file.read(self.device) if self.file else None
        if kept is None:
            return
        self.state = _State.from_dict(kept)
        self.translator.load_state_dict(kept["weights"])
        self.optimizer.load_state_dict(kept["optimizer"])
        # Made anew, since other epochs give what is left another course.
        self.schedule = LambdaLR(self.optimizer, self.rate_share, last_epoch=self.state.step - 1)
        self.scaler.load_state_dict(kept["scaler"])
        torch.set_rng_state(kept["random"][self.process_group.rank].cpu())
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all([seed.cpu() for seed in kept["cuda_random"]])


def _identity(
    translator: Translator,
    settings: TrainingConfig,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    process_group: ProcessGroup,
) -> dict[str, Any]:
    """What must be the same for a run to go on; of much data a digest."""
    if translator.config is not None:
        shape = translator.config.to_dict()
    else:  # put together by hand: the shapes of its weights
        shape = {name: list(one.shape) for name, one in translator.state_dict().items()}
    free = ("epochs", "patience", "save_every")
    return {
        "sentence pairs or vocabularies": hashlib.sha256(repr(examples).encode()).hexdigest(),
        "validation pairs": hashlib.sha256(repr(held_out).encode()).hexdigest(),
        "numbers of processes": process_group.world_size,
        "scores": [
            type(one.score).__name__
            for one in translator.decoder.attentions
            if isinstance(one, Attention)
        ],
        "settings": {name: one for name, one in asdict(settings).items() if name not in free},
        "config": shape,
    }


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
