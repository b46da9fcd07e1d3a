"""Write the table of all option keys into docs/training.md, from the schemas of the option files.

    python codes/scripts/describe_options.py

The table stands between the marks <!-- options --> and <!-- end of options -->. A key's meaning is the
`description` of its field.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tabulate import tabulate

sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.models.registry import NETWORKS, NetworkOptions
from codes.options import TestOptions
from codes.training.options import TrainOptions
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, write_text

PAGE = ROOT / "docs" / "training.md"
COLUMNS = ("key", "used by", "value", "default", "meaning")
_BLOCK = re.compile(r"(<!-- options -->\n).*?(<!-- end of options -->)", re.DOTALL)
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Key(NamedTuple):
    """A key of an option file: its path in the file and what the schema says about it."""

    path: str
    value: str
    default: str
    meaning: str


def keys_of(schema: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """The keys of a schema and of the groups in it, in the schema's order; `*` stands for a name of the user's."""
    for name, field in schema.model_fields.items():
        path = prefix + (field.alias or name)
        groups = [kind for kind in _members(field.annotation) if _is_group(kind)]
        if any(issubclass(group, NetworkOptions) for group in groups):
            yield Key(path, "keys", _default(field), field.description or "")
            continue
        named = [get_args(kind)[1] for kind in _members(field.annotation) if get_origin(kind) is dict]
        named = [group for group in named if _is_group(group)]
        yield Key(path, "keys" if groups or named else _value(field), _default(field), field.description or "")
        for group in (*groups, *named):
            yield from keys_of(group, f"{path}.*." if group in named else f"{path}.")


def network_keys() -> Iterator[tuple[str, Key]]:
    """The keys of `network_G`, each with the networks that have it. Keys that are the same in all are one."""
    found: dict[Key, list[str]] = {}
    for network in NETWORKS:
        for key in keys_of(NETWORKS[network].options, "network_G."):
            if key.path != "network_G.which_model_G":
                found.setdefault(key, []).append(network)
    for key, networks in found.items():
        yield ", ".join(networks), key


def option_table() -> str:
    """All keys of test and training files as one Markdown table."""
    test, train = list(keys_of(TestOptions)), list(keys_of(TrainOptions))
    # Validation sets have the keys of test sets, baselines those of methods, and every `path` the same ones.
    train = [key for key in train if not key.path.startswith(("datasets.val.", "baselines.*"))]
    test = [key for key in test if ".*.path." not in key.path]
    meanings = {(key.path, key.meaning) for key in test} & {(key.path, key.meaning) for key in train}
    shared = {path for path, _ in meanings}
    rows = [("train and test" if key.path in shared else "train", key) for key in train]
    rows += [("test", key) for key in test if key.path not in shared]
    rows += network_keys()
    cells = [(f"`{key.path}`", users, key.value, key.default, _sentence(key.meaning)) for users, key in rows]
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in cells]
    return tabulate(escaped, COLUMNS, tablefmt="github", disable_numparse=True) + "\n"


def _sentence(text: str) -> str:
    """A description with a capital letter, but for a symbol such as x0, and a full stop."""
    is_word = text[:2].isalpha() or text[1:2] == " "
    return (text[0].upper() + text[1:] if is_word else text).rstrip(".") + "." if text else ""


def with_options(page: str) -> str:
    """A page's text with the table as the schemas have it now."""
    return _BLOCK.sub(lambda match: match[1] + option_table() + match[2], page)


def _members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a type, without None and Annotated; the type of a list's entries if they are a group."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for member in get_args(annotation) for kind in _members(member) if kind is not NoneType)
    if get_origin(annotation) is list and _is_group(get_args(annotation)[0]):
        return get_args(annotation)
    return (annotation,)


def _is_group(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _value(field: FieldInfo) -> str:
    """What a key may be, such as `int, above 0`."""
    kinds = []
    for kind in _members(field.annotation):
        if get_origin(kind) is Literal:
            kinds += [str(value).lower() if isinstance(value, bool) else str(value) for value in get_args(kind)]
        elif get_origin(kind) is list:
            kinds.append("list")
        else:
            kinds.append({str: "text", bool: "true or false"}.get(kind) or (get_origin(kind) or kind).__name__)
    limits = [
        f"{words} {getattr(item, name):g}"
        for item in (*field.metadata, *_constraints(field.annotation))
        for name, words in _LIMITS.items()
        if getattr(item, name, None) is not None
    ]
    return ", ".join(["mapping" if kind == "dict" else kind for kind in kinds] + limits)


def _constraints(annotation: Any) -> tuple[Any, ...]:
    """The constraints inside a type such as `PositiveInt | None`."""
    if get_origin(annotation) is Annotated:
        inner, *constraints = get_args(annotation)
        return (*constraints, *_constraints(inner))
    if get_origin(annotation) in (Union, UnionType):
        return tuple(item for member in get_args(annotation) for item in _constraints(member))
    return ()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel) or value in (None, {}, []):
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)
    write_text(PAGE, with_options(PAGE.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
