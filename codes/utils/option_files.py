"""The base of all option groups, and the content of option files before it is validated: `base`, names, --set."""

from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from codes.utils.errors import UserError, nearest
from codes.utils.files import ROOT
from codes.utils.yaml_files import parse_yaml, read_yaml

# The data sets and methods that option files refer to by name.
CATALOGUE = ROOT / "options" / "datasets.yml"
# The smallest and the largest number in an option file, apart from 0.
TINY, HUGE = 1e-12, 1e10
# Where an option file may use these names, and the catalogue's group that has them.
_NAMED = {
    ("datasets",): "datasets",
    ("datasets", "val"): "datasets",
    ("test",): "datasets",
    ("quick", "test"): "datasets",
    ("methods",): "methods",
    ("baselines",): "methods",
}


def error_at(key: str, reason: str) -> PydanticCustomError:
    """A validation error at a key below the validated group."""
    return PydanticCustomError("error_at", "{key}: {reason}", {"key": key, "reason": reason})


class Options(BaseModel):
    """Base of all option groups: unknown keys are rejected, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def keys(cls) -> Iterable[str]:
        """The keys that an option file may have for this group."""
        return {field.alias or name for name, field in cls.model_fields.items()}

    @model_validator(mode="before")
    @classmethod
    def _known(cls, content: Any) -> Any:
        if isinstance(content, dict):
            valid = cls.keys()
            for key, value in content.items():
                if key not in valid:
                    raise error_at(str(key), f"unknown key; {nearest(str(key), valid)}")
                for path, number in _extreme(str(key), value):
                    raise error_at(path, f"should be 0 or of a size between {TINY:g} and {HUGE:g}, not {number}")
        return content


def _extreme(path: str, value: Any) -> Iterator[tuple[str, float]]:
    """Numbers in a value of an option file, with their keys, that are too small or large for arithmetic with them."""
    if isinstance(value, (list, dict)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _extreme(f"{path}.{key}", part)
    elif isinstance(value, (int, float)) and value != 0 and not TINY <= abs(value) <= HUGE:
        yield path, value


def read_option_file(path: Path, below: tuple[Path, ...] = ()) -> dict:
    """The content of an option file, merged over that of the file that its key `base` names.

    `base` is relative to the file's folder. below: the files that led to this one by their `base`.
    Raises UserError for a file that is not a mapping or that extends itself.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: an option file is a list of `key: value` lines")
    if "base" not in content:
        return content
    base = content.pop("base")
    if not isinstance(base, str):
        raise UserError(f"{path}: base: should be the name of an option file, not {base!r}")
    below = (*below, path.resolve())
    if (path.parent / base).resolve() in below:
        raise UserError(f"{path}: base: {base} extends this file in turn; remove one of the two keys")
    return _merged(read_option_file(path.parent / base, below), content)


def _merged(base: dict, over: dict) -> dict:
    """`over` merged over `base`: nested mappings key by key. A mapping that names a network replaces the base's."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        both = both and not {"preset", "which_model_G"} & value.keys()
        result[key] = _merged(base[key], value) if both else value
    return result


def insert_named(content: dict, where: str) -> None:
    """Replace the names of data sets and methods by the blocks of keys that the catalogue has for them.

    Names are in a list, or are values of a mapping. Raises UserError, naming `where`, for an unknown name.
    """
    for keys, group in _NAMED.items():
        parent: Any = content
        for key in keys[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(parent, dict):
            continue
        place, entries = f"{where}: {'.'.join(keys)}", parent.get(keys[-1])
        if isinstance(entries, list) and entries and all(isinstance(name, str) for name in entries):
            name, count = Counter(entries).most_common(1)[0]
            if count > 1:
                raise UserError(f"{place}: '{name}' is in the list twice")
            parent[keys[-1]] = entries = {name: name for name in entries}
        names = [key for key in entries if isinstance(entries[key], str)] if isinstance(entries, dict) else []
        blocks = _blocks(group) if names else {}
        for key in names:
            name = entries[key]
            if name not in blocks:
                raise UserError(f"{place}.{key}: no '{name}' in options/{CATALOGUE.name}; {nearest(name, blocks)}")
            entries[key] = deepcopy(blocks[name])


def _blocks(group: str) -> dict[str, dict]:
    """A group of the catalogue: blocks of keys by name. A data set's name is that of its entry."""
    content = read_yaml(CATALOGUE)
    blocks = content.get(group) if isinstance(content, dict) else None
    if not isinstance(blocks, dict) or not all(isinstance(block, dict) for block in blocks.values()):
        raise UserError(f"{CATALOGUE}: {group}: should be blocks of keys by name")
    return {name: {"name": name, **block} for name, block in blocks.items()} if group == "datasets" else blocks


def apply_override(content: dict, override: str) -> None:
    """Set one key, given as `a.b.c=value`. Raises UserError if it is written in another way."""
    key, equals, text = override.partition("=")
    keys = key.split(".")
    if not equals or not all(keys):
        raise UserError(f"--set {override}: write it as a.b.c=value")
    group = content
    for name in keys[:-1]:
        if group.get(name) is None:
            group[name] = {}
        group = group[name]
        if not isinstance(group, dict):
            raise UserError(f"--set {override}: '{name}' is a value, it has no keys")
    value = parse_yaml(text, f"--set {override}")
    if keys[-1] == "preset":
        group.clear()  # a preset replaces the file's keys
    group[keys[-1]] = value
