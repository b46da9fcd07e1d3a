"""Weight files: the authors' .pth and our safetensors. Reading never executes code."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codes.models.archs.released_names import our_name, repeats, translate
from codes.utils.errors import UserError, warn
from codes.utils.files import write_atomic


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a weight file: .safetensors, or .pth/.pt bare, with `module.` prefix or in {"params": ...}.

    Raises UserError for a missing, damaged or foreign file, and for a pickle that carries code.
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
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: holds no weights (a dictionary of tensors, bare or under 'params')")
    return dict(content)


def load_weights(network: nn.Module, weights: str | Path | Mapping[str, Tensor], strict: bool = True) -> None:
    """Load weights, from a file or a dictionary, under the authors' key names or ours.

    Half-precision weights are brought to the network's precision. With `strict`, every missing,
    unexpected or misshapen key is named in one UserError and nothing is loaded; otherwise what
    fits is loaded and the rest is named in a warning.
    """
    where = "the given weights"
    if not isinstance(weights, Mapping):
        where, weights = str(weights), read_weights(weights)
    try:
        given = translate(weights)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    names = {our_name(key): key for key in weights if not repeats(key)}
    own = network.state_dict()
    misshapen = {key for key in given.keys() & own.keys() if given[key].shape != own[key].shape}
    problems = [
        *(f"missing {key}" for key in own if key not in given),
        *(f"unexpected {names[key]}" for key in given if key not in own),
        *(f"{names[key]} is {_shape(given[key])} instead of {_shape(own[key])}" for key in own if key in misshapen),
        *(f"{names[key]} is not finite" for key in given if not given[key].isfinite().all()),
    ]
    if problems:
        message = f"{where} does not fit this {type(network).__name__}: {'; '.join(problems)}"
        if strict:
            raise UserError(message)
        warn(message)
    fitting = {key: tensor for key, tensor in given.items() if key in own and key not in misshapen}
    network.load_state_dict(own | fitting)


def save_weights(network: nn.Module, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the network's weights as safetensors, stored in `dtype` (float16 halves the file)."""
    state = {key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in network.state_dict().items()}
    write_atomic(path, lambda temporary: save_file(state, temporary))


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
