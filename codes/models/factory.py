"""From the options of `network_G` and `path` to a network with its weights."""

import codes.models.all_networks  # noqa: F401  registers the networks
from codes.models.network import Network
from codes.models.registry import NETWORKS, PRESETS, NetworkOptions
from codes.models.weights import load_weights
from codes.utils.errors import UserError, place_in_code
from codes.utils.files import from_root


def build_network(options: NetworkOptions) -> Network:
    """The network that `network_G` describes, in eval mode, with random weights.

    Raises UserError if the options contradict each other or name an unknown part.
    """
    arguments = {name: getattr(options, name) for name in type(options).model_fields}
    for key in ("which_model_G", "upscale"):  # MMSR's keys that constructors do not take
        arguments.pop(key, None)
    try:
        return NETWORKS[options.which_model_G].build(**arguments).eval()
    except ValueError as error:
        raise UserError(f"network_G: {error}") from error
    except (RuntimeError, TypeError, MemoryError, OverflowError) as error:
        reason = f"{str(error).partition(chr(10))[0]}; {place_in_code(error)}"
        raise UserError(f"network_G: such a network cannot be built ({reason})") from error


def build_preset(name: str, **overrides: object) -> Network:
    """The network of a named configuration, with single option-file keys overridden; eval mode."""
    keys = {**PRESETS[name], **overrides}
    return build_network(NETWORKS[keys["which_model_G"]].options(**keys))


def open_network(options: NetworkOptions, path: str | None, strict: bool = True) -> Network:
    """The network that `network_G` describes, in eval mode, with the weights of `path.pretrain_model_G`.

    strict: `path.strict_load`. Raises UserError as `build_network` and `load_pretrained` do.
    """
    network = build_network(options)
    load_pretrained(network, path, strict)
    return network


def load_pretrained(network: Network, path: str | None, strict: bool = True) -> None:
    """Load `path.pretrain_model_G`. Raises UserError if it is missing, or given for a method without weights."""
    name = type(network).__name__
    if not network.needs_weights:
        if path is not None:
            raise UserError(f"path.pretrain_model_G: {name} has no weights; remove the key")
    elif path is None:
        raise UserError("path.pretrain_model_G: the network needs weights; name a .pth or .safetensors file")
    else:
        load_weights(network, from_root(path), strict)
