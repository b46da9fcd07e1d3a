"""Option files: YAML in MMSR's keys -> validated, typed options.

Every key is checked once, here: an unknown one, a wrong type or a missing one is an error
that names the file, the key's path and, for a misspelt key, the nearest valid one.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

import codes.models.all_networks  # noqa: F401  registers the networks whose options are accepted
from codes.models.registry import NETWORKS, PRESETS, NetworkOptions
from codes.models.restorer import Precision
from codes.utils.errors import UserError, nearest
from codes.utils.schema import Options
from codes.utils.yaml_files import parse_yaml, read_yaml, to_yaml

AnyNetwork = Annotated[
    Union[tuple(NETWORKS[name].options for name in NETWORKS)],  # noqa: UP007
    Field(discriminator="which_model_G"),
]


PlainName = Annotated[str, Field(pattern=r"^\w[\w.+ ()-]*$")]
"""A name that becomes part of a path below results/: letters, digits, and . _ + - ( ) within."""


class TestSet(Options):
    """One test set: three folders paired by sorted name, relative to the project's root."""

    __test__ = False

    name: PlainName
    mode: Literal["LQGTDB"]
    dataroot_GT: str
    dataroot_LQ: str
    dataroot_KM: str
    noise_sigma: float | None = Field(None, ge=0, le=1)
    """noise of the set (fraction of the full range), told to the classical methods"""
    embedded: bool = False
    """made on the spot from the photographs of the scikit-image package if not there yet"""


class TestPaths(Options):
    __test__ = False

    pretrain_model_G: str | None = None
    strict_load: bool = True


class Method(Options):
    """One row of a table: a network and its weights."""

    network_G: AnyNetwork
    path: TestPaths = TestPaths()


class TestOptions(Options):
    """A test option file: one network, or several `methods`, on a number of sets."""

    __test__ = False

    name: PlainName
    suffix: PlainName | None = None
    """appended to the names of the restored images"""
    model: Literal["db"] = "db"
    distortion: Literal["sr"] = "sr"
    scale: Literal[1] = 1
    crop_border: NonNegativeInt | None = None
    """pixels left out at each side when an image is scored"""
    gpu_ids: list[NonNegativeInt]
    precision: Precision = "float32"
    """of most convolutions; float16 on GPUs only"""
    max_images: PositiveInt | None = None
    """of each set, only so many images (in the order of their names)"""
    datasets: dict[str, TestSet] = Field(min_length=1)
    network_G: AnyNetwork | None = None
    path: TestPaths = TestPaths()
    methods: dict[PlainName, Method] | None = None
    """the rows of a table of several methods, in place of network_G and path"""

    @model_validator(mode="after")
    def _one_kind(self) -> "TestOptions":
        if (self.network_G is None) == (not self.methods):
            raise ValueError("needs either network_G (one network) or methods (several)")
        if self.methods and self.path != TestPaths():
            raise ValueError("path belongs to each of the methods")
        names = [test_set.name for test_set in self.datasets.values()]
        if len(set(names)) < len(names):
            raise ValueError("datasets: two sets have the same name")
        return self

    def rows(self) -> dict[str, Method]:
        """The methods by the name of their row; a single network is called as the file is."""
        return self.methods or {self.name: Method(network_G=self.network_G, path=self.path)}


class _NetworkGroup(Options):
    network_G: AnyNetwork


AnyOptions = TypeVar("AnyOptions", bound=Options)


def load_options(schema: type[AnyOptions], path: str | Path, overrides: Sequence[str] = ()) -> AnyOptions:
    """Read an option file and apply overrides `a.b.c=value`, each checked like a key of the file.

    Raises UserError with one line for the first mistake.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: an option file is a list of `key: value` lines")
    for override in overrides:
        _override(content, override)
    _expand_presets(content, str(path))
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise UserError(_explain(schema, error, str(path))) from None


def network_options(content: Any, where: str) -> NetworkOptions:
    """The options of a network from the value of a `network_G` key. Raises UserError, naming `where`, for a mistake."""
    group = {"network_G": dict(content) if isinstance(content, Mapping) else content}
    _expand_presets(group, where)
    try:
        return _NetworkGroup.model_validate(group).network_G
    except ValidationError as error:
        raise UserError(_explain(_NetworkGroup, error, where)) from None


def network_of_file(path: str | Path) -> NetworkOptions:
    """The network of a test or training option file. Raises UserError where it has no network_G, or a wrong one."""
    content = read_yaml(path)
    if not isinstance(content, dict) or "network_G" not in content:
        raise UserError(f"{path}: network_G: is required but missing")
    return network_options(content["network_G"], str(path))


def dump_options(options: Options) -> str:
    """The resolved options as YAML, under the keys of the option files."""
    return to_yaml(options.model_dump(by_alias=True, exclude_none=True))


def _override(content: dict, override: str) -> None:
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
        group.clear()  # the preset's keys come in place of the file's
    group[keys[-1]] = value


def _expand_presets(content: dict, where: str) -> None:
    """Replace `network_G: {preset: light, ...}` by the preset's keys, overridden by the file's."""
    methods = content.get("methods")
    groups = {"": content}
    groups |= {f"methods.{name}.": group for name, group in methods.items()} if isinstance(methods, dict) else {}
    for key, group in groups.items():
        network = group.get("network_G") if isinstance(group, dict) else None
        if isinstance(network, dict) and "preset" in network:
            name = network.pop("preset")
            if not isinstance(name, str) or name not in PRESETS:
                raise UserError(
                    f"{where}: {key}network_G.preset: unknown preset '{name}'; {nearest(str(name), PRESETS)}"
                )
            group["network_G"] = {**PRESETS[name], **network}


def _explain(schema: type[BaseModel], error: ValidationError, where: str) -> str:
    # A misspelt key makes the right one missing: the misspelling is what to report.
    first, *others = sorted(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
    parts = first["loc"]
    # Below network_G pydantic puts the network's name into the path; the file has no such key.
    above = ("", *parts)
    loc = [str(part) for i, part in enumerate(parts) if not (above[i] == "network_G" and part in NETWORKS)]
    key = ".".join(loc)
    value = first["input"]
    match first["type"]:
        case "extra_forbidden":
            reason = f"unknown key; {nearest(loc[-1], _valid_keys(schema, first['loc'][:-1]))}"
        case "missing":
            reason = "is required but missing"
        case "union_tag_invalid":
            key += ".which_model_G"
            reason = f"unknown network '{value.get('which_model_G')}'; {nearest(str(value['which_model_G']), NETWORKS)}"
        case "union_tag_not_found":
            key, reason = f"{key}.which_model_G", "is required but missing"
        case "value_error":
            reason = str(first["ctx"]["error"])
        case _:
            shown = "" if isinstance(value, (dict, list)) else f", not {value!r}"
            reason = first["msg"].replace("Input should be", "should be") + shown
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}: {key}: {reason}{more}" if key else f"{where}: {reason}{more}"


def _valid_keys(annotation: Any, loc: Sequence[str | int]) -> Iterable[str]:
    """The keys that the option group at `loc` below `annotation` has."""
    groups = [kind for kind in _alternatives(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    if not loc:
        keys = {field.alias or name for group in groups for name, field in group.model_fields.items()}
        return keys | {"preset"} if any(issubclass(group, NetworkOptions) for group in groups) else keys
    head, *tail = loc
    for kind in _alternatives(annotation):
        if get_origin(kind) is dict:
            return _valid_keys(get_args(kind)[1], tail)
    for group in groups:
        if issubclass(group, NetworkOptions) and head in NETWORKS and group is NETWORKS[head].options:
            return _valid_keys(group, tail)
        if head in group.model_fields:
            return _valid_keys(group.model_fields[head].annotation, tail)
    return ()


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, Annotated removed; another type alone."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for member in get_args(annotation) for kind in _alternatives(member))
    return (annotation,)
