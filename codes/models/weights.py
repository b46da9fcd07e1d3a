"""Weight files: the authors' .pth and our safetensors. Reading never executes code."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from codes.models.network import Network
from codes.utils.errors import UserError, warn
from codes.utils.files import write_atomic

# Number of values in a tensor, a hundred times that of the largest one in any network here.
MOST_VALUES = 10**8
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a weight file: .safetensors, or .pth/.pt bare, with `module.` prefix or in {"params": ...}.

    Raises UserError for a missing, damaged or foreign file, and for a pickle that carries code.
    `load_weights` checks the tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weight file")
    if path.suffix == ".safetensors":
        try:
            return load(path.read_bytes())
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "nsupported" in str(error) or "GLOBAL" in str(error):
            raise UserError(f"{path}: refused, the pickle carries code; a weight file holds tensors only") from None
        raise UserError(f"{path}: not a readable weight file; is it damaged?") from None
    except Exception:  # a damaged file can raise nearly anything
        raise UserError(f"{path}: not a readable weight file; is it damaged?") from None
    if isinstance(content, Mapping) and isinstance(content.get("params"), Mapping):
        content = content["params"]
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds no weights (a dictionary of tensors, bare or under 'params')")
    return dict(content)


def load_weights(network: Network, weights: str | Path | Mapping[str, Tensor], strict: bool = True) -> None:
    """Load weights, from a file or a dictionary, under key names that the network reads.

    Half-precision weights are converted to the network's precision. With `strict`, tensors that differ (see
    `differences`) raise a UserError and nothing is loaded; its notes name each of them. Otherwise they are left out
    and one warning counts them.
    """
    where = "the dictionary of weights"
    if not isinstance(weights, Mapping):
        where, weights = _short(str(weights), 70), read_weights(weights)
    given, names = _checked(network, weights, where)
    problems = differences(network, given, names)
    if problems:
        total, first = len(network.state_dict().keys() | given.keys()), next(iter(problems.values()))
        found = f"{where} does not fit this {type(network).__name__}: {len(problems)} of {total} tensors differ"
        found += f" (first: {_short(first, 64)})"
        if strict:
            error = UserError(
                f"{found}; use the network_G keys of the training, or strict_load: false to load the rest"
            )
            for problem in problems.values():
                error.add_note(problem)
            raise error
        warn(f"{found}; the rest is loaded")
    network.load_state_dict(network.state_dict() | {key: given[key] for key in given if key not in problems})


def differences(
    network: nn.Module, given: Mapping[str, Tensor], names: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Reasons why `given` cannot be loaded: {key: reason}, wrong shapes first.

    A tensor is missing, is not in the network, has another shape, or holds infinite values. names: {our key: key in
    the file}, for the text.
    """
    own, names = network.state_dict(), names or {}
    shared = [key for key in own if key in given]
    misshapen = {
        key: f"{names.get(key, key)} {_shape(given[key])}, here {_shape(own[key])}"
        for key in shared
        if given[key].shape != own[key].shape
    }
    missing = {key: f"{key} is missing" for key in own if key not in given}
    unknown = {key: f"{names.get(key, key)} is not in this {type(network).__name__}" for key in given if key not in own}
    infinite = {
        key: f"{names.get(key, key)} is not finite"
        for key in shared
        if key not in misshapen and not given[key].isfinite().all()
    }
    return misshapen | missing | unknown | infinite


def _checked(network: Network, weights: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights under our key names, and {our key: key in the file}.

    Raises UserError for anything but tensors of floats. Integers are accepted where the network has integers itself,
    such as BatchNorm's number of batches.
    """
    own = network.state_dict()
    for key, tensor in weights.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{where} holds no weights (a dictionary of tensors, bare or under 'params')")
        kinds = _FLOATS if key not in own else (*_FLOATS, own[key].dtype)
        if tensor.dtype not in kinds or tensor.layout != torch.strided or tensor.is_meta:
            kind = f"a {tensor.dtype} tensor of layout {tensor.layout}"
            raise UserError(f"{where}: {_short(key, 60)} is {kind}; floats are needed")
        if tensor.numel() > MOST_VALUES:  # a few bytes can claim any number of values
            raise UserError(f"{where}: {_short(key, 60)} claims {tensor.numel():,} values, which is refused")
    try:
        names = network.keys_in_file(weights)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return {own: weights[key] for own, key in names.items()}, names


def save_weights(
    network: nn.Module, path: str | Path, dtype: torch.dtype = torch.float32, notes: Mapping[str, str] | None = None
) -> None:
    """Write the network's weights as safetensors, stored in `dtype` (float16 halves the file), with `notes`.

    Integers, such as BatchNorm's number of batches, are stored as they are. Raises UserError, and writes nothing, if a
    weight is not finite in `dtype`.
    """
    state = {
        key: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for key, tensor in network.state_dict().items()
    }
    for key, tensor in state.items():
        if not tensor.isfinite().all():
            raise UserError(f"{path}: not written, {key} is not finite as {dtype}")
    data = save(state, dict(notes or {}))  # the library itself reports a full disk in its own words
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


def read_notes(path: str | Path) -> dict[str, str]:
    """The notes that `save_weights` wrote into a safetensors file. Raises UserError for a missing or damaged file."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def _short(text: str, length: int) -> str:
    """The text, without its middle if it is longer than `length` characters."""
    return text if len(text) <= length else f"{text[: length // 3]}...{text[3 + length // 3 - length :]}"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
