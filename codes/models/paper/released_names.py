"""The authors' key names in weight files, translated to ours.

Our names follow the letters of the paper (F, G, shrink_v, shrink_z, solver.m_p ...). The names inside a module are
the same, so that a table of prefixes translates each key.
"""

import re
from collections.abc import Mapping, MutableMapping

from torch import Tensor

_PREFIXES = (
    (r"p\.(\d+)\.conv\.", r"F.\1."),
    (r"p\.(\d+)\.m\.", r"shrink_v.\1."),
    (r"d\.(\d+)\.conv\.", r"G.\1."),
    (r"d\.(\d+)\.m\.", r"shrink_z.\1."),
    (r"hp\.", "solver.m_p."),
    (r"hd\.", "solver.m_d."),
    (r"hn\.", "solver.m_n."),
    (r"mp$", "solver.m_p"),
    (r"md$", "solver.m_d"),
    (r"gamma$", "solver.gamma"),
    (r"i\.", "solver.unet."),
)
# Our prefixes of a DSDNet's keys, and the authors'.
_INVERSE = (
    (r"F\.(\d+)\.", r"p.\1.conv."),
    (r"G\.(\d+)\.", r"d.\1.conv."),
    (r"shrink_v\.(\d+)\.", r"p.\1.m."),
    (r"shrink_z\.(\d+)\.", r"d.\1.m."),
    (r"solver\.m_p\.", "hp."),
    (r"solver\.m_d\.", "hd."),
    (r"solver\.m_n\.", "hn."),
    (r"solver\.unet\.", "i."),
)
_REPEATED = re.compile(r"(module\.)?i\.(\d+)\.conv_(prior|data)\.weight$")


def our_name(key: str) -> str:
    """Our name of a key of the authors' files (with or without `module.`); our own names stay as they are."""
    key = key.removeprefix("module.")
    for pattern, ours in _PREFIXES:
        if re.match(pattern, key):
            return re.sub("^" + pattern, ours, key)
    return key


def repeats(key: str) -> str | None:
    """The key whose tensor the authors' `i.T.conv_prior.weight` or `i.T.conv_data.weight` repeats; else None."""
    match = _REPEATED.match(key)
    if not match:
        return None
    module, stage, kind = match.groups()
    return f"{module or ''}{'p' if kind == 'prior' else 'd'}.{stage}.conv.weight"


def as_released(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a DSDNet under the authors' names, as float32 copies, with the filters that they repeat."""
    released = {}
    for key, tensor in weights.items():
        pattern, theirs = next((pattern, theirs) for pattern, theirs in _INVERSE if re.match(pattern, key))
        name = re.sub("^" + pattern, theirs, key)
        released[name] = tensor.detach().float().cpu().clone()
        if name.endswith(".conv.weight"):
            bank, stage = name.split(".")[:2]
            repeated = f"i.{stage}.conv_{'prior' if bank == 'p' else 'data'}.weight"
            released[repeated] = released[name].clone()
    return released


def translate(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` under our names, without repeated filters.

    Raises ValueError if a repeated filter differs from its original, since our network has only one bank of filters,
    or if a key is given twice.
    """
    translated = {}
    for key, tensor in weights.items():
        original = repeats(key)
        if original in weights:
            if not tensor.equal(weights[original]):
                raise ValueError(f"{key} should repeat {original} but differs from it")
            continue
        if our_name(key) in translated:
            raise ValueError(f"{key} appears twice, with and without a prefix or under two names")
        translated[our_name(key)] = tensor
    return translated


def translate_in_place(module: object, weights: MutableMapping[str, Tensor], prefix: str, *_: object) -> None:
    """Hook for `load_state_dict`: it then accepts the authors' keys."""
    own = {key: weights.pop(key) for key in list(weights) if key.startswith(prefix)}
    translated = translate({key.removeprefix(prefix): tensor for key, tensor in own.items()})
    weights.update({prefix + key: tensor for key, tensor in translated.items()})
