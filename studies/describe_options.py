"""Write the table of all option keys into docs/training.md, from the schemas of the option files.

    python studies/describe_options.py

The table stands between the marks <!-- options --> and <!-- end of options -->. A key's meaning is the
`description` of its field.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.models.registry import NETWORKS
from codes.options import TestOptions
from codes.training.options import TrainOptions
from codes.utils.errors import run_command_line
from codes.utils.files import ROOT, write_text

PAGE = ROOT / "docs" / "training.md"
_BLOCK = re.compile(r"(<!-- options -->\n).*?(<!-- end of options -->)", re.DOTALL)
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_TYPES = {"integer": "int", "number": "float", "string": "text", "boolean": "true or false", "array": "list"}

JsonSchema = dict[str, Any]


class Key(NamedTuple):
    """A key of an option file: its path in the file and what the schema says about it."""

    path: str
    value: str
    default: str
    meaning: str


def keys_of(options: type[BaseModel], prefix: str = "") -> list[Key]:
    """The keys of a schema and of the groups in it, in the schema's order. `*` stands for a name that users choose."""
    schema = options.model_json_schema()
    return list(_keys(schema, prefix, schema.get("$defs", {})))


def _keys(schema: JsonSchema, prefix: str, definitions: JsonSchema) -> Iterator[Key]:
    for name, field in schema["properties"].items():
        path, kinds, groups = prefix + name, _kinds(field, definitions), []
        for kind in kinds:
            entries = [kind.get("additionalProperties"), *kind.get("patternProperties", {}).values()]
            inside = [("", kind), ("", kind.get("items")), *(("*.", entry) for entry in entries)]
            for star, inner in inside:
                found = _kinds(inner, definitions) if inner else []
                groups += [(f"{path}.{star}", group) for group in found if "properties" in group]
        default = "required" if name in schema.get("required", ()) else _text(field.get("default"))
        yield Key(path, "keys" if groups else _value(kinds), default, field.get("description", ""))
        for start, group in groups:
            if "which_model_G" not in group["properties"]:  # the networks' keys follow in option_table
                yield from _keys(group, start, definitions)


def _kinds(field: JsonSchema, definitions: JsonSchema) -> list[JsonSchema]:
    """The alternatives of a field, without null."""
    if "$ref" in field:
        return _kinds(definitions[field["$ref"].rpartition("/")[2]], definitions)
    several = field.get("anyOf") or field.get("oneOf")
    if several:
        return [kind for member in several for kind in _kinds(member, definitions)]
    return [field] if field and field.get("type") != "null" else []


def _value(kinds: Sequence[JsonSchema]) -> str:
    """What a key may be, such as `int, above 0`."""
    words = []
    for kind in kinds:
        values = kind.get("enum", [kind["const"]] if "const" in kind else [_TYPES.get(kind.get("type"), "mapping")])
        words += [str(value) for value in values]
        words += [f"{text} {kind[limit]:g}" for limit, text in _LIMITS.items() if limit in kind]
    return ", ".join(words)


def _text(default: Any) -> str:
    if default in (None, []) or isinstance(default, dict):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def option_table() -> str:
    """All keys of test and training files as one Markdown table."""
    # Validation sets have the keys of test sets, baselines those of methods, and every `path` the same ones.
    repeated = re.compile(r"datasets\.val\.|baselines\.\*|.*\.\*\.path\.|network_G\.which_model_G")
    sources = {"train": keys_of(TrainOptions), "test": keys_of(TestOptions)}
    sources |= {name: keys_of(NETWORKS[name].options, "network_G.") for name in NETWORKS}
    users: dict[Key, list[str]] = {}
    for user, keys in sources.items():
        for key in keys:
            if not repeated.match(key.path):
                users.setdefault(key, []).append(user)
    rows = [(f"`{key.path}`", ", ".join(names), *key[1:]) for key, names in users.items()]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    head = ["key", "used by", "value", "default", "meaning"]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *escaped])


def with_options(page: str) -> str:
    """A page's text with the table as the schemas have it now."""
    return _BLOCK.sub(lambda match: match[1] + option_table() + match[2], page)


def main(argv: Sequence[str]) -> int:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    write_text(PAGE, with_options(PAGE.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
