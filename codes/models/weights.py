"""Weight files: the authors' .pth and our safetensors. Reading never executes code."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codes.models.paper.released_names import our_name, translate
from codes.utils.errors import UserError, warn
from codes.utils.files import write_atomic

_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a weight file: .safetensors, or .pth/.pt bare, with `module.` prefix or in {"params": ...}.

    Raises UserError for a missing, damaged or foreign file, and for a pickle that carries code.
    What the tensors are is checked by `load_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weight file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "nsupported" in str(error) or "GLOBAL" in str(error):
            raise UserError(f"{path}: refused, the pickle carries code; a weight file holds tensors only") from None
        raise UserError(f"{path}: not a readable weight file; is it damaged?") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError, IndexError, TypeError):
        raise UserError(f"{path}: not a readable weight file; is it damaged?") from None
    if isinstance(content, Mapping) and isinstance(content.get("params"), Mapping):
        content = content["params"]
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds no weights (a dictionary of tensors, bare or under 'params')")
    return dict(content)


def load_weights(network: nn.Module, weights: str | Path | Mapping[str, Tensor], strict: bool = True) -> None:
    """Load weights, from a file or a dictionary, under the authors' key names or ours.

    Half-precision weights are brought to the network's precision. With `strict`, every missing,
    unexpected or misshapen key is named in one UserError and nothing is loaded; otherwise what
    fits is loaded and a warning counts the rest.
    """
    where = "the given weights"
    if not isinstance(weights, Mapping):
        where, weights = str(weights), read_weights(weights)
    for key, tensor in weights.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{where} holds no weights (a dictionary of tensors, bare or under 'params')")
        if tensor.dtype not in _DTYPES or tensor.layout != torch.strided or tensor.is_meta:
            raise UserError(f"{where}: {key} is a {tensor.dtype} tensor of layout {tensor.layout}; floats are needed")
    given, names = dict(weights), {key: key for key in weights}
    if getattr(network, "reads_released_names", False):
        try:
            given = translate(weights)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        names = {our_name(key): key for key in weights}
    own = network.state_dict()
    misshapen = {key for key in given.keys() & own.keys() if given[key].shape != own[key].shape}
    infinite = {key for key in given if not given[key].isfinite().all()}
    problems = {
        "missing": [f"missing {key}" for key in own if key not in given],
        "unexpected": [f"unexpected {names[key]}" for key in given if key not in own],
        "of another shape": [
            f"{names[key]} is {_shape(given[key])} instead of {_shape(own[key])}" for key in own if key in misshapen
        ],
        "not finite": [f"{names[key]} is not finite" for key in given if key in infinite],
    }
    if any(problems.values()):
        if strict:
            each = "; ".join(problem for kind in problems.values() for problem in kind)
            raise UserError(f"{where} does not fit this {type(network).__name__}: {each}")
        warn(f"{where} does not fit this {type(network).__name__} everywhere, the rest is loaded: {_counts(problems)}")
    fitting = {key: tensor for key, tensor in given.items() if key in own and key not in misshapen | infinite}
    network.load_state_dict(own | fitting)


def save_weights(
    network: nn.Module, path: str | Path, dtype: torch.dtype = torch.float32, notes: Mapping[str, str] | None = None
) -> None:
    """Write the network's weights as safetensors, stored in `dtype` (float16 halves the file), with `notes`.

    Raises UserError, and writes nothing, where a weight is not finite in `dtype`.
    """
    state = {key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in network.state_dict().items()}
    for key, tensor in state.items():
        if not tensor.isfinite().all():
            raise UserError(f"{path}: not written, {key} is not finite as {dtype}")
    write_atomic(path, lambda temporary: save_file(state, temporary, dict(notes or {})))


def read_notes(path: str | Path) -> dict[str, str]:
    """What `save_weights` noted in a safetensors file. Raises UserError for a missing or damaged file."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def _counts(problems: Mapping[str, Sequence[str]]) -> str:
    """`3 missing (first: missing blocks.0.f), 1 of another shape (first: ...)`."""
    return ", ".join(f"{len(found)} {kind} (first: {found[0]})" for kind, found in problems.items() if found)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
