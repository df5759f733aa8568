"""A stand-in for a GPU: a device named ``card`` whose tensors refuse to meet those of the CPU.

Code for a GPU that was never run has mistakes, and the commonest is a tensor that was made on the
CPU and meets one on the card. Here a tensor on ``card`` is one of the CPU with a label. The CPU
does every operation, after a look at the labels of all that goes in: mixing them raises what CUDA
raises. It says nothing about speed, and nothing about how a GPU's kernels round.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_iter, tree_map_only

NAME = "card"
aten = torch.ops.aten
# CUDA takes these with tensors of both kinds, as it takes any single number from the CPU.
MIXES = {
    aten.copy_.default,
    aten._to_copy.default,
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._pack_padded_sequence.default,
    aten._pack_padded_sequence_backward.default,
}


class Module(backend_registration._DummyBackendModule):
    """What ``torch.cuda`` is for a GPU; counts how often somebody waited for the card."""

    def __init__(self) -> None:
        self.waited = 0

    def synchronize(self, device: Any = None) -> None:
        self.waited += 1

    def get_device_name(self, device: Any = None) -> str:
        return "stand-in"

    def memory_allocated(self, device: Any = None) -> int:
        return 0

    def max_memory_allocated(self, device: Any = None) -> int:
        return 2**20

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.get_rng_state()  # the CPU draws for the card

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        pass


class OnCard(Tensor):
    """A tensor that says it lies on the card."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch calls it on the class, and its stub declares a method of the instance
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _do(func, args, kwargs or {})

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]  # torch passes tensor_contents, which object.__repr__ has not
        return f"OnCard({self.held!r})"

    # What torch does for no subclass.
    def __format__(self, form: str) -> str:
        return format(self.held.detach(), form)

    def tolist(self) -> Any:
        return self.held.tolist()


class _Factory(TorchDispatchMode):
    """Sees the operations that are given no tensor: ``torch.zeros(3, device="card")``."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and the look costs as much as a small operation

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _do(func, args, kwargs or {})


def _do(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [one for one in tree_iter((args, kwargs)) if isinstance(one, Tensor)]
    on_card = any(isinstance(one, OnCard) for one in given)
    strange = any(not isinstance(one, OnCard) and one.ndim for one in given)
    if on_card and strange and func not in MIXES:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and cpu! ({func})"
        )
    wanted = kwargs.get("device")
    goes = on_card if wanted is None else torch.device(wanted).type == NAME
    moved = kwargs if wanted is None else kwargs | {"device": torch.device("cpu")}
    inner, named = tree_map_only(OnCard, lambda one: one.held, (args, moved))
    result = FUSED.get(func, func)(*inner, **named)
    if func is aten.copy_.default:
        return args[0]
    if not goes:
        return result
    if func is aten._pack_padded_sequence.default:  # sizes stay where the lengths are
        return OnCard(result[0]), result[1]
    result = tree_map_only(Tensor, OnCard, result)
    return return_and_correct_aliasing(func, args, kwargs, result) if on_card else result


# --- what torch does on every GPU in one kernel, and has no kernel of for the CPU ----------------


def _lstm(from_input: Tensor, from_hidden: Tensor, cell: Tensor, *biases: Tensor | None) -> Any:
    gates = from_input + from_hidden + sum(bias for bias in biases if bias is not None)
    keep_in, keep, new, out = gates.chunk(4, 1)
    parts = keep_in.sigmoid(), keep.sigmoid(), new.tanh(), out.sigmoid()
    after = parts[1] * cell + parts[0] * parts[2]
    return parts[3] * after.tanh(), after, torch.cat(parts, 1)


def _lstm_back(
    to_hidden: Tensor | None,
    to_cell: Tensor | None,
    cell: Tensor,
    after: Tensor,
    parts: Tensor,
    has_bias: bool,
) -> Any:
    keep_in, keep, new, out = parts.chunk(4, 1)
    zero, tanh = torch.zeros_like(after), after.tanh()
    to_hidden, to_cell = (zero if one is None else one for one in (to_hidden, to_cell))
    to_after = to_cell + to_hidden * out * (1 - tanh**2)
    slopes = (
        to_after * new * keep_in * (1 - keep_in),
        to_after * cell * keep * (1 - keep),
        to_after * keep_in * (1 - new**2),
        to_hidden * tanh * out * (1 - out),
    )
    to_gates = torch.cat(slopes, 1)
    return to_gates, to_after * keep, to_gates.sum(0) if has_bias else None


def _gru(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, *biases: Tensor | None) -> Any:
    first, second = (
        gates if bias is None else gates + bias
        for gates, bias in zip((from_input, from_hidden), biases, strict=True)
    )
    (reset, update, new), (reset_2, update_2, inner) = first.chunk(3, 1), second.chunk(3, 1)
    reset, update = (reset + reset_2).sigmoid(), (update + update_2).sigmoid()
    new = (new + reset * inner).tanh()
    return new + update * (hidden - new), torch.cat([reset, update, new, hidden, inner], 1)


def _gru_back(to_after: Tensor, parts: Tensor, has_bias: bool) -> Any:
    reset, update, new, hidden, inner = parts.chunk(5, 1)
    to_new = to_after * (1 - update) * (1 - new**2)
    to_update = to_after * (hidden - new) * update * (1 - update)
    to_reset = to_new * inner * reset * (1 - reset)
    first = torch.cat([to_reset, to_update, to_new], 1)
    second = torch.cat([to_reset, to_update, to_new * reset], 1)
    sums = (first.sum(0), second.sum(0)) if has_bias else (None, None)
    return first, second, to_after * update, *sums


FUSED = {
    aten._thnn_fused_lstm_cell.default: _lstm,
    aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_back,
    aten._thnn_fused_gru_cell.default: _gru,
    aten._thnn_fused_gru_cell_backward.default: _gru_back,
}

module = Module()
backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=module)
# Mixed precision rounds nothing here.
_autocast = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
_autocast.fallback(torch.library.fallthrough_kernel)


@contextmanager
def on_card() -> Iterator[torch.device]:
    """While it lasts, tensors can be made on the card and modules moved there."""
    apply = nn.Module._apply

    def moved(self: nn.Module, *args: Any, **options: Any) -> nn.Module:
        """Weights that two layers share are to be shared on the card as well."""
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return apply(self, *args, **options)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "_apply", moved)
        # A subclass cannot be an inference tensor.
        patch.setattr(torch._C, "_InferenceMode", lambda mode: torch.set_grad_enabled(not mode))
        # torch.tensor([1, 2], device="card") is to come by here, too.
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            with _Factory():
                yield torch.device(NAME)
        finally:
            torch._C._set_only_lift_cpu_tensors(before)


@pytest.fixture
def card() -> Any:
    """The device ``card`` for the length of a test."""
    with on_card() as device:
        yield device
