"""Serialisation of a version: four safetensors blobs, byte-identical for equal states.

=============  ===================================================================
``weights``    parameters by name; the metadata names the architecture
``vocabulary`` ``utf8``: item ids end to end (uint8); ``offsets`` (I + 1,) in bytes; ``idle`` (I,)
               int32: blocks since each was last clicked, 0 in versions of before
``exemplars``  ``items`` (N,) int32; ``offsets`` (E + 1,) int64
``optimizer``  Adam's step and, where a recipe carries them on, its moments by parameter name;
               serving never needs it
=============  ===================================================================

Nothing is unpickled. What does not fit together is refused with ArtifactError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ader_stream.ader.artifact.safetensors import read_tensors
from ader_stream.ader.artifact.state import MOMENTS, STEPS, State
from ader_stream.ader.data.arrays import Int32, Int64, UInt8
from ader_stream.ader.data.string_table import StringTable
from ader_stream.ader.data.vocabulary import PADDING, Vocabulary
from ader_stream.ader.exemplars.selection import Exemplars
from ader_stream.ader.models.base import Architecture, SessionModel
from ader_stream.ader.models.encoders import ENCODERS, build_model
from ader_stream.artifact import KINDS, Blob
from ader_stream.errors import ArtifactError, SettingsError

MAX_ARCHITECTURE_NUMBER = 100_000
"""Highest width, depth and length: a larger model would not fit into memory."""

ARCHITECTURE = "architecture"
"""The one metadata key: safetensors keeps no order between several, and bytes must not vary."""


def encode_parts(state: State) -> dict[str, bytes]:
    """Encode the version's parts, by kind."""
    architecture = json.dumps(asdict(state.architecture), sort_keys=True)
    return {
        "weights": save(state.weights, metadata={ARCHITECTURE: architecture}),
        "vocabulary": _encode_vocabulary(state.vocabulary, state.idle),
        "exemplars": _encode_exemplars(state.exemplars),
        "optimizer": save(state.optimizer),
    }


def state_bytes(state: State) -> int:
    """Return the bytes of a version's tensors: its size without headers."""
    tensors = [*state.weights.values(), *state.optimizer.values()]
    exemplars = state.exemplars.items.nbytes + state.exemplars.offsets.nbytes
    return sum(tensor.nbytes for tensor in tensors) + exemplars


def decode_state(parts: Mapping[str, Blob]) -> State:
    """Decode a version from its parts.

    Raises
    ------
    ArtifactError
        A part is missing or no safetensors, or the parts contradict each other.
    """
    missing = [kind for kind in KINDS if kind not in parts]
    if missing:
        raise ArtifactError(f"parts {missing} are missing; a version has {', '.join(KINDS)}")
    vocabulary, idle = _decode_vocabulary(parts["vocabulary"])
    weights, architecture = _decode_model(parts["weights"], len(vocabulary))
    optimizer, _ = read_tensors("optimizer", parts["optimizer"])
    _require_moments(optimizer, architecture, len(vocabulary))
    exemplars = _decode_exemplars(parts["exemplars"], len(vocabulary))
    return State(weights, optimizer, exemplars, vocabulary, architecture, idle)


def decode_serving(weights: Blob, vocabulary: Blob) -> tuple[SessionModel, Vocabulary]:
    """Decode the model, in eval mode, and its vocabulary; raises ArtifactError as `decode_state`.

    The model's weights are those bytes, not a copy of them, if they can be written to.
    """
    items, _ = _decode_vocabulary(vocabulary)
    tensors, architecture = _decode_model(weights, len(items))
    model = _without_memory(architecture, len(items))
    model.load_state_dict(tensors, assign=True)
    return model.eval(), items


def _encode_vocabulary(vocabulary: Vocabulary, idle: Int32) -> bytes:
    items = vocabulary.items
    tensors = {"utf8": items.utf8, "offsets": items.offsets, "idle": idle}
    return save({name: torch.tensor(array) for name, array in tensors.items()})


def _decode_vocabulary(blob: Blob) -> tuple[Vocabulary, Int32]:
    named = {"utf8": torch.uint8, "offsets": torch.int64}
    tensors = _load_named("vocabulary", blob, named, {"idle": torch.int32})
    utf8, offsets = tensors["utf8"].numpy(), tensors["offsets"].numpy()
    _require_offsets("vocabulary", offsets, len(utf8))
    return _decode_items(utf8, offsets), _decode_idle(tensors.get("idle"), len(offsets) - 1)


def _decode_idle(found: Tensor | None, n_items: int) -> Int32:
    if found is None:  # a version from before it was counted: as if all were clicked just now
        return np.zeros(n_items, np.int32)
    idle: Int32 = found.numpy()
    if len(idle) != n_items or (idle < 0).any():
        raise ArtifactError(
            f"vocabulary has {len(idle)} numbers of idle blocks, from {idle.min(initial=0)} on; "
            f"expected {n_items}, none below 0"
        )
    return idle


def _decode_items(utf8: UInt8, offsets: Int64) -> Vocabulary:
    try:
        return Vocabulary(StringTable(utf8, offsets))
    except ValueError as error:
        raise ArtifactError(
            f"vocabulary holds item ids that are not UTF-8 or not distinct: {error}"
        ) from None


def _encode_exemplars(exemplars: Exemplars) -> bytes:
    return save(
        {
            "items": torch.from_numpy(exemplars.items),
            "offsets": torch.from_numpy(exemplars.offsets),
        }
    )


def _decode_exemplars(blob: Blob, n_items: int) -> Exemplars:
    tensors = _load_named("exemplars", blob, {"items": torch.int32, "offsets": torch.int64})
    items, offsets = tensors["items"].numpy(), tensors["offsets"].numpy()
    _require_offsets("exemplars", offsets, len(items))
    if len(items) and not 1 <= items.min() <= items.max() <= n_items:
        raise ArtifactError(
            f"exemplars hold item indices {items.min()} … {items.max()}; "
            f"the vocabulary has 1 … {n_items}"
        )
    if len(offsets) > 1 and np.diff(offsets).min() < 2:
        raise ArtifactError("exemplars hold one of fewer than 2 items: no input and target")
    return Exemplars(items, offsets)


def _decode_model(weights: Blob, n_items: int) -> tuple[dict[str, Tensor], Architecture]:
    tensors, metadata = read_tensors("weights", weights)
    architecture = _read_architecture(metadata, len(tensors))
    model = _without_memory(architecture, n_items)
    expected = model.state_dict()
    model.upgrade(tensors, expected)
    _require_like("weights", tensors, expected)
    _require_item_indices(tensors, n_items)
    return tensors, architecture


def _read_architecture(metadata: Mapping[str, str], n_tensors: int) -> Architecture:
    try:
        architecture = Architecture(**json.loads(metadata[ARCHITECTURE]))
        numbers = [n for n in asdict(architecture).values() if isinstance(n, int | float)]
        fits = all(0 <= n <= MAX_ARCHITECTURE_NUMBER for n in numbers)
        fits = fits and architecture.blocks <= n_tensors
        fits = fits and min(architecture.hidden, architecture.maxlen) >= 1
        fits = fits and architecture.encoder in ENCODERS and architecture.temperature > 0
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"weights name no architecture that is known: {error!r:.300}") from None
    if not fits:
        raise ArtifactError(f"weights name an impossible architecture: {architecture!r:.300}")
    return architecture


def _require_moments(
    optimizer: Mapping[str, Tensor], architecture: Architecture, n_items: int
) -> None:
    carried = MOMENTS if any(name.endswith(".exp_avg") for name in optimizer) else STEPS
    expected = {
        f"{name}.{moment}": weight.sum() if moment == "step" else weight
        for name, weight in _without_memory(architecture, n_items).named_parameters()
        for moment in carried
    }
    _require_like("optimizer", optimizer, expected)


class _NoInitialWeights(TorchFunctionMode):
    """Skip the random initial weights of torch's layers.

    On the device ``meta``, torch would draw them in Python, and load its compiler and sympy for
    that: three seconds and 150 MB for numbers that nobody reads.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call a function of torch, or return the tensor that it would fill."""
        given = kwargs or {}
        is_initial = getattr(func, "__module__", None) == nn.init.__name__
        return given["tensor"] if is_initial else func(*args, **given)


def _without_memory(architecture: Architecture, n_items: int) -> SessionModel:
    try:
        with torch.device("meta"), _NoInitialWeights():
            return build_model(architecture, n_items)
    except (TypeError, ValueError, RuntimeError, SettingsError) as error:
        raise ArtifactError(f"weights name an impossible architecture: {error!r:.300}") from None


def _require_like(kind: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    found, wanted = ({name: _form(t) for name, t in some.items()} for some in (tensors, expected))
    wrong = sorted(
        f"{name}: {found.get(name, 'missing')} instead of {wanted.get(name, 'nothing')}"
        for name in found.keys() | wanted.keys()
        if found.get(name) != wanted.get(name)
    )
    if wrong:
        raise ArtifactError(f"{kind} do not fit the other parts: {'; '.join(wrong)}")


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def _require_item_indices(tensors: Mapping[str, Tensor], n_items: int) -> None:
    """Whole numbers among the weights are item indices, or padding."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and tensor.numel():
            lowest, highest = tensor.min().item(), tensor.max().item()
            if not PADDING <= lowest <= highest <= n_items:
                raise ArtifactError(
                    f"weights hold item indices {lowest} … {highest} in {name}; "
                    f"the vocabulary has 1 … {n_items}"
                )


def _require_offsets(kind: str, offsets: Int64, end: int) -> None:
    falls = (offsets[1:] < offsets[:-1]).any()  # no difference: of hostile numbers it may overflow
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != end or falls:
        raise ArtifactError(f"{kind} have offsets that do not rise from 0 to {end}")


def _load_named(
    kind: str,
    blob: Blob,
    expected: Mapping[str, torch.dtype],
    later: Mapping[str, torch.dtype] = MappingProxyType({}),
) -> dict[str, Tensor]:
    """Read flat tensors; those of `later` older versions do not have."""
    tensors, _ = read_tensors(kind, blob)
    found = {name: tensor.dtype for name, tensor in tensors.items()}
    named = {**expected, **later}
    if {**later, **found} != named or any(tensor.dim() != 1 for tensor in tensors.values()):
        raise ArtifactError(f"{kind} hold {found!s:.300}; expected flat {named}")
    return tensors
