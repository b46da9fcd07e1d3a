"""Safe YAML: no tags and no code, a warning for a repeated key, and 1e-4 is a number."""

import re
from pathlib import Path
from typing import Any

import yaml

from codes.utils.errors import UserError, warn


class _Loader(yaml.SafeLoader):
    """SafeLoader that warns of repeated keys (the last one counts) and reads 1e-4 as a float."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key in seen:
                    warn(f"{self.name}: '{key}' on line {line} repeats line {seen[key]}; the last one counts")
                seen[key] = line
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9]+|[0-9]*\.[0-9]+|[0-9]+\.)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text. Raises UserError, naming `where`, if it is not plain YAML."""
    try:
        loader = _Loader(text)
        loader.name = where
        return loader.get_single_data()
    except yaml.reader.ReaderError as error:
        raise UserError(f"{where}: {error.reason}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise UserError(f"{where}:{line} {getattr(error, 'problem', None) or error}") from None


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file. Raises UserError for a missing or unreadable one."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such option file")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file") from None
    return parse_yaml(text, str(path))


def to_yaml(content: Any) -> str:
    """YAML text of plain dictionaries and lists, keys in their order."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
