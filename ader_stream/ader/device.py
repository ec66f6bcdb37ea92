"""The device that an update cycle computes on: the CPU, or a GPU.

Only the tensors of the computation are there. Versions, exemplars and checkpoints are on the CPU:
a cycle on one device continues from a version of another.
"""

from __future__ import annotations

import os
import platform

import torch
from torch import Tensor, distributed

from ader_stream.errors import SettingsError
from ader_stream.runtime.cores import usable_cores

CPU = torch.device("cpu")

CHOICES = ("auto", "cpu", "cuda")

CUBLAS_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without it, cuBLAS may add up in another order every time."""


def chosen_device(choice: str) -> torch.device:
    """Return the device of one of the `CHOICES`, made ready.

    ``auto`` is a GPU where torch sees one. Of several GPUs, each process that ``torchrun`` has
    started on a host takes its own; which ones there are, ``CUDA_VISIBLE_DEVICES`` says.

    Raises
    ------
    SettingsError
        There is no GPU, or none for this process.
    """
    gpus = torch.cuda.device_count() if choice != "cpu" else 0
    if not gpus and choice != "cuda":
        return CPU
    place = distributed.get_node_local_rank(fallback_rank=0)
    if place >= gpus:
        raise SettingsError(
            f"device {choice!r}: torch sees {gpus} GPUs, and this is process {place} of its host, "
            "counted from 0; expected a GPU for each; start fewer processes, or choose 'cpu'"
        )
    device = torch.device("cuda", place)
    torch.cuda.set_device(device)
    _add_up_in_one_order()
    return device


def describe_device(device: torch.device) -> str:
    """Name a device: its type, and its processor's architecture or its model."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {platform.machine()}"


def use_threads(count: int = 0) -> None:
    """Compute on so many threads of the CPU.

    Parameters
    ----------
    count
        0 for as many as this process may use cores (`usable_cores`), or for ``OMP_NUM_THREADS``
        where that is fewer.
    """
    torch.set_num_threads(count or min(torch.get_num_threads(), usable_cores()))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has units that multiply bfloat16, several times as fast as float32.

    GPUs have them since Ampere, CPUs with AMX or with AVX-512's instructions for it. A CPU without
    takes nearly twice as long as with float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(unit, False) for unit in ("amx_bf16", "avx512_bf16"))


def generator_state(device: torch.device) -> Tensor:
    """Return the state of the device's global generator, on the CPU."""
    generators = torch if device == CPU else torch.get_device_module(device)
    state: Tensor = generators.get_rng_state()
    return state


def set_generator_state(device: torch.device, state: Tensor) -> None:
    """Restore what `generator_state` returned."""
    generators = torch if device == CPU else torch.get_device_module(device)
    generators.set_rng_state(state)


def _add_up_in_one_order() -> None:
    """Make the results of a GPU repeatable, as a CPU's are.

    Where torch has no deterministic function, it warns and continues.
    """
    os.environ.setdefault(*CUBLAS_WORKSPACE)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # unread
