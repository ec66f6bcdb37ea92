"""A device that is not the CPU, for machines without one: `FAKE`.

Its tensors lie in the CPU's memory and the CPU's kernels compute on them, so everything comes to
what it comes to there, to the bit. But, as on a GPU, an operation on tensors of both devices is
refused, and so is a view of one in numpy. What a GPU's own kernels do, it cannot show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import Library
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

CROSSING = {"copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_"}
"""Operations that torch allows between two devices: copies, and indices on the CPU."""


class _Backend:
    """What torch asks of a device's module."""

    get_rng_state = staticmethod(torch.get_rng_state)
    set_rng_state = staticmethod(torch.set_rng_state)

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def manual_seed_all(self, seed: int) -> None:
        """There is only the CPU's generator, and it is seeded by itself."""

    def _is_in_bad_fork(self) -> bool:
        return False


_setup_privateuseone_for_python_backend("fake", _Backend())

FAKE = torch.device("fake", 0)


class _OnDevice(Tensor):
    """A tensor of the device around one of the CPU."""

    inside: Tensor

    @staticmethod
    def __new__(cls, inside: Tensor) -> _OnDevice:
        tensor: _OnDevice = Tensor._make_wrapper_subclass(
            cls,
            inside.size(),
            strides=inside.stride(),
            storage_offset=inside.storage_offset(),
            dtype=inside.dtype,
            device=FAKE,
        )
        tensor.inside = inside
        return tensor

    @classmethod
    def __torch_dispatch__(
        cls,
        operation: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _compute(operation, *args, **(kwargs or {}))

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError("a tensor of another device is no array; copy it to the CPU first")
        return self.detach().cpu().numpy()

    def __repr__(self, **_: Any) -> str:
        return f"{self.inside} on {FAKE}"


def _compute(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Compute on the CPU, and put the result where a real device would have it."""
    _require_one_device(operation, (args, kwargs))
    asked = kwargs.get("device")
    if asked is not None:
        kwargs["device"] = torch.device("cpu")
    outside: dict[int, Tensor] = {}  # what is changed in place stays the tensor that it was

    def enter(value: Any) -> Any:
        if not isinstance(value, _OnDevice):
            return value
        outside[id(value.inside)] = value
        return value.inside

    def leave(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return outside[id(value)] if id(value) in outside else _OnDevice(value)

    result = operation(*tree_map(enter, args), **tree_map(enter, kwargs))
    goes_to_cpu = asked is not None and torch.device(asked).type == "cpu"
    return result if goes_to_cpu else tree_map(leave, result)


def _require_one_device(operation: Any, given: Any) -> None:
    """A single number may come from the CPU, but not an optimizer's; more only to be copied."""
    name = operation.overloadpacket.__name__
    tensors = [value for value in tree_leaves(given) if isinstance(value, Tensor)]
    if not name.startswith("_fused"):
        tensors = [tensor for tensor in tensors if tensor.dim()]
    here = [isinstance(tensor, _OnDevice) for tensor in tensors]
    if any(here) and not all(here) and name not in CROSSING:
        raise RuntimeError(f"{operation}: expected all tensors on {FAKE}, some are on the CPU")


_LIBRARY = Library("_", "IMPL")  # holds the fallback for as long as it lives
_LIBRARY.fallback(_compute, "PrivateUse1")
