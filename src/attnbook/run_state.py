"""What lets a training run survive a kill: a file that is always whole, signals that wait."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType, TracebackType
from typing import Any

import torch

__all__ = ["Interrupts", "StateFile"]


class StateFile:
    """The file of a run's state, which belongs to one run alone.

    Args:
        path: of the file; its folder is made when it is first written.
        identity: what must be the same for a run to go on, by name. A value may be a dictionary,
            whose names then say what differs.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self.identity = identity

    def write(self, state: dict[str, Any]) -> None:
        """Write a state beside the old one, then put it in its place, so that one is whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        torch.save({"identity": self.identity} | state, unfinished)
        os.replace(unfinished, self.path)

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """The state that was written last; None if there is none.

        Raises:
            ValueError: the file is not whole, not the state of a run, or that of another run.
        """
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
        except (RuntimeError, EOFError, UnpicklingError) as error:
            raise ValueError(
                f"{self.path} is not the whole state of a run ({error}); delete it to start anew"
            ) from error
        if not isinstance(state, dict) or not {"identity", "weights", "counters"} <= set(state):
            raise ValueError(
                f"{self.path} is not the state of a run of attnbook; give this run another folder"
            )
        if state["identity"] != self.identity:
            raise ValueError(
                f"{self.path} belongs to a run with other {self._differences(state['identity'])}; "
                "give this run another folder, or delete that one to start anew"
            )
        return state

    def _differences(self, other: dict[str, Any]) -> str:
        """The names of what differs between this run and another one."""
        different = [name for name, mine in self.identity.items() if mine != other.get(name)]
        names: list[str] = []
        for name in different:
            mine, theirs = self.identity[name], other.get(name)
            if not isinstance(mine, dict):
                return name  # what runs read tells more than how they were set
            names += [key for key in mine if mine[key] != (theirs or {}).get(key)]
        return ", ".join(names)


class Interrupts:
    """Within the block, Ctrl-C and SIGTERM are noted; a second one does not wait.

    An exception in the middle of a step would leave weights that are half updated. Python hands
    signals to the main thread alone; in another one nothing is changed. Neither is it where Ctrl-C
    is ignored already, as a shell has it for what runs in the background.

    Args:
        wait: False changes nothing.

    Attributes:
        arrived: whether there was one.
    """

    def __init__(self, *, wait: bool) -> None:
        self.wait = wait and threading.current_thread() is threading.main_thread()
        self.arrived = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        """Begin to note them."""
        for number in (signal.SIGINT, signal.SIGTERM) if self.wait else ():
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                self._before[number] = handler
                signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back to whom they went before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.arrived:
            raise KeyboardInterrupt
        self.arrived = True
