"""The authors' key names in weight files, translated to ours.

Our names follow the letters of the paper (F, G, shrink_v, shrink_z, solver.m_p ...). The names inside a module are
the same, so that a table of prefixes translates each key.
"""

import re
from collections.abc import Mapping

from torch import Tensor

# The authors' prefixes and ours, as templates; {} is the number of the stage.
_PREFIXES = (
    ("p.{}.conv.", "F.{}."),
    ("p.{}.m.", "shrink_v.{}."),
    ("d.{}.conv.", "G.{}."),
    ("d.{}.m.", "shrink_z.{}."),
    ("hp.", "solver.m_p."),
    ("hd.", "solver.m_d."),
    ("hn.", "solver.m_n."),
    ("i.", "solver.unet."),
)
# DSDNet+ has these whole keys.
_KEYS = {"mp": "solver.m_p", "md": "solver.m_d", "gamma": "solver.gamma"}


def _patterns(source: int) -> list[tuple[re.Pattern[str], str]]:
    """The prefixes of column `source` as patterns, and the other column's as replacements."""
    return [
        (re.compile(re.escape(pair[source]).replace(r"\{\}", r"(\d+)")), pair[1 - source].replace("{}", r"\1"))
        for pair in _PREFIXES
    ]


_TO_OURS, _TO_RELEASED = _patterns(0), _patterns(1)
_REPEATED = re.compile(r"(module\.)?i\.(\d+)\.conv_(prior|data)\.weight$")


def our_name(key: str) -> str:
    """Our name of a key of the authors' files (with or without `module.`); our own names stay as they are."""
    key = key.removeprefix("module.")
    return _KEYS.get(key) or _replaced(key, _TO_OURS) or key


def _replaced(key: str, patterns: list[tuple[re.Pattern[str], str]]) -> str | None:
    """The key with its prefix replaced; None if no pattern matches its beginning."""
    for pattern, replacement in patterns:
        if match := pattern.match(key):
            return match.expand(replacement) + key[match.end() :]
    return None


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
        name = _replaced(key, _TO_RELEASED)
        released[name] = tensor.detach().float().cpu().clone()
        if name.endswith(".conv.weight"):
            bank, stage = name.split(".")[:2]
            repeated = f"i.{stage}.conv_{'prior' if bank == 'p' else 'data'}.weight"
            released[repeated] = released[name].clone()
    return released


def keys_in_file(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """{our key: key in a weight file}, without repeated filters.

    Raises ValueError if a repeated filter differs from its original, since our network has only one bank of filters,
    or if a key is given twice.
    """
    keys: dict[str, str] = {}
    for key, tensor in weights.items():
        original = repeats(key)
        if original in weights:
            if not tensor.equal(weights[original]):
                raise ValueError(f"{key} should repeat {original} but differs from it")
        elif keys.setdefault(our_name(key), key) != key:
            raise ValueError(f"{key} appears twice, with and without a prefix or under two names")
    return keys
