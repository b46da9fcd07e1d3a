"""Option files: YAML in MMSR's keys -> validated, typed options.

Every key is checked here. An unknown key, a wrong type or a missing key is an error that names the file, the
path of the key and, for a misspelt key, the nearest valid one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PlainValidator,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

import codes.models.all_networks  # noqa: F401  registers the networks whose options are accepted
from codes.inference.restorer import Precision
from codes.models.registry import NETWORKS, PRESETS, NetworkOptions
from codes.utils.errors import UserError, nearest
from codes.utils.option_files import Options, apply_override, error_at, insert_named, read_option_file
from codes.utils.yaml_files import to_yaml


def _without_preset(network: Any) -> Any:
    """Replace `{preset: light, ...}` by the preset's keys, overridden by the file's."""
    if not isinstance(network, Mapping) or "preset" not in network:
        return network
    name = network["preset"]
    if not isinstance(name, str) or name not in PRESETS:
        raise error_at("preset", f"unknown preset '{name}'; {nearest(str(name), PRESETS)}")
    return PRESETS[name] | {key: value for key, value in network.items() if key != "preset"}


AnyNetwork = Annotated[
    Union[tuple(NETWORKS[name].options for name in NETWORKS)],  # noqa: UP007
    Field(discriminator="which_model_G"),
    BeforeValidator(_without_preset),
]

# A name that becomes part of a path below results/ or experiments/: of a run, a training, a data set, a table's row.
NAME = r"^\w[\w.+-]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=100)]


def _gpu_numbers(value: Any) -> Any:
    """Validate `gpu_ids`. pydantic's own message for a union would name both alternatives separately."""
    if value != "auto" and not (
        isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)
    ):
        raise ValueError(f"should be auto or a list of GPU numbers such as [0, 1], not {value!r}")
    return value


GpuIds = Annotated[
    Literal["auto"] | list[int],
    PlainValidator(_gpu_numbers, json_schema_input_type=Literal["auto"] | list[int]),
    Field(
        description="The GPUs to use: `auto` uses all GPUs of the machine, or the CPU if there is none; "
        "a list such as [0, 1] names them; [] uses the CPU."
    ),
]


class TestSet(Options):
    """One test set: three folders of files paired by their sorted names, relative to the project's root."""

    __test__ = False

    name: Name = Field(description="The name of the set in the results. A suffix _n03 states 3 percent noise.")
    mode: Literal["LQGTDB"] = Field(
        "LQGTDB", description="MMSR's name for triples of a blurry image, a sharp image and a kernel."
    )
    dataroot_GT: str = Field(description="Folder of the sharp images (ground truth).")
    dataroot_LQ: str = Field(description="Folder of the blurry images (low quality).")
    dataroot_KM: str = Field(description="Folder of the kernels: PNG, NumPy or MATLAB files.")
    noise_sigma: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Standard deviation of the noise, as a fraction of the full range (0.01 is 1 percent). "
        "The classical methods use it; if it is not given they estimate it.",
    )
    kernel_convention: Literal["correlation", "convolution"] = Field(
        "correlation",
        description="`convolution` rotates the kernels by 180 degrees when they are read: right for kernels made for "
        "convolution (scipy.signal.convolve, deepinv). The sets here hold kernels for correlation.",
    )
    embedded: bool = Field(
        False,
        description="True if the set is made from the photographs of the scikit-image package when it is not there.",
    )


class PathOptions(Options):
    """The `path:` group."""

    pretrain_model_G: str | None = Field(
        None, description="Weight file (.pth or .safetensors), relative to the project's root."
    )
    strict_load: bool = Field(
        True,
        description="True if every weight has to fit. If false, what fits is loaded and a warning counts the rest.",
    )


class Method(Options):
    """One row of a table: a network and its weights."""

    label: str | None = Field(None, description="The row's name in tables and figures; the row's id if not given.")
    network_G: AnyNetwork = Field(description="The network: `which_model_G` or `preset`, and the network's own keys.")
    path: PathOptions = Field(PathOptions(), description="Where the weights are.")


class CommandOptions(Options):
    """What a test file and a training file share."""

    model: Literal["db"] = Field("db", description="MMSR's name of the task, deblurring.")
    distortion: Literal["sr"] = Field("sr", description="A key of MMSR without effect.")
    scale: Literal[1] = Field(1, description="A key of MMSR without effect.")
    gpu_ids: GpuIds = "auto"


class TestOptions(CommandOptions):
    """A test option file: one network, or several `methods`, on a number of sets."""

    __test__ = False

    name: Name = Field(description="The name of the run: results are written to `results/<name>/`.")
    suffix: Name | None = Field(None, description="Appended to the names of the restored images.")
    crop_border: NonNegativeInt | None = Field(
        None, description="Pixels left out at each side when an image is scored; none if not given."
    )
    precision: Precision = Field(
        "float32", description="Number format of most convolutions. float16 and tf32 work on GPUs only."
    )
    max_images: PositiveInt | None = Field(
        None, description="Use only the first images of each set, in the order of their names; all if not given."
    )
    datasets: dict[str, TestSet] = Field(
        min_length=1, description="The test sets: names from options/datasets.yml, or blocks of keys."
    )
    network_G: AnyNetwork | None = Field(
        None, description="The network: `which_model_G` or `preset`, and the network's own keys."
    )
    path: PathOptions = Field(PathOptions(), description="Where the weights of network_G are.")
    methods: dict[Name, Method] | None = Field(
        None,
        description="The rows of a table of several methods, instead of network_G and path: "
        "names from options/datasets.yml, or blocks of keys.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "TestOptions":
        if (self.network_G is None) == (not self.methods):
            raise ValueError("needs either network_G (one network) or methods (several)")
        if self.methods and self.path != PathOptions():
            raise ValueError("path belongs to each of the methods")
        names = [test_set.name for test_set in self.datasets.values()]
        if len(set(names)) < len(names):
            raise ValueError("datasets: two sets have the same name")
        return self

    def rows(self) -> dict[str, Method]:
        """The methods by the id of their row. A single network's id is the name of the file."""
        return self.methods or {self.name: Method(network_G=self.network_G, path=self.path)}

    def labels(self) -> dict[str, str]:
        """What tables and figures show for each row's id."""
        return {name: method.label or name for name, method in self.rows().items()}


AnyOptions = TypeVar("AnyOptions", bound=Options)


def load_options(schema: type[AnyOptions], path: str | Path, overrides: Sequence[str] = ()) -> AnyOptions:
    """Read an option file with the file that it extends, and apply overrides `a.b.c=value`.

    `base: other.yml` names a file that this one extends, relative to this file's folder. Mappings are merged key by
    key; other values of this file replace those of the base. A data set or method may be given by its name in
    options/datasets.yml. Raises UserError with one line for the first mistake.
    """
    content = read_option_file(Path(path))
    _check_kind(schema, content, path)
    insert_named(content, str(path))
    for override in overrides:
        apply_override(content, override)
        insert_named(content, f"--set {override}")
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise UserError(_first_mistake(error, str(path))) from None


def _check_kind(schema: type[Options], content: Mapping, path: str | Path) -> None:
    """Raise UserError for a training file where a test file is needed, and the other way round."""
    training, datasets = "train" in content, content.get("datasets")
    if schema is TestOptions and training:
        raise UserError(f"{path} is a training file; use codes/train.py")
    tested = isinstance(datasets, (Mapping, list)) and "train" not in datasets
    if "train" in schema.model_fields and not training and tested:
        raise UserError(f"{path} is a test file; use codes/test.py")


def network_options(content: Any, where: str) -> NetworkOptions:
    """The options of a network from the value of a `network_G` key. Raises UserError, naming `where`, for a mistake."""
    try:
        return TypeAdapter(AnyNetwork).validate_python(content)
    except ValidationError as error:
        raise UserError(_first_mistake(error, where, "network_G")) from None


def network_of_file(path: str | Path) -> NetworkOptions:
    """The network of a test or training option file. Raises UserError if network_G is missing or wrong."""
    content = read_option_file(Path(path))
    if "network_G" not in content:
        raise UserError(f"{path}: network_G: is required but missing")
    return network_options(content["network_G"], str(path))


def dump_options(options: Options) -> str:
    """The resolved options as YAML, under the keys of the option files."""
    return to_yaml(options.model_dump(by_alias=True, exclude_none=True))


def _first_mistake(error: ValidationError, where: str, *group: str) -> str:
    """One line for the first mistake. group: the keys above the validated part."""
    first, *others = error.errors()
    parts = (*group, *first["loc"])
    # Below network_G pydantic puts the network's name into the path; the file has no such key.
    above = ("", *parts)
    loc = [str(part) for i, part in enumerate(parts) if not (above[i] == "network_G" and part in NETWORKS)]
    loc = [part for part in loc if part != "[key]"]
    value, context = first["input"], first.get("ctx", {})
    match first["type"]:
        case "error_at":
            loc.append(context["key"])
            reason = context["reason"]
        case "missing":
            reason = "is required but missing"
        case "union_tag_invalid":
            loc.append("which_model_G")
            reason = f"unknown network '{value.get('which_model_G')}'; {nearest(str(value['which_model_G']), NETWORKS)}"
        case "union_tag_not_found":
            loc.append("which_model_G")
            reason = "is required but missing"
        case "string_pattern_mismatch" | "string_too_long":
            reason = "should consist of letters, digits and . _ + - (at most 100), and begin with a letter or digit, "
            reason += f"not {value!r}"
        case "value_error":
            reason = str(context["error"])
        case _:
            shown = "" if isinstance(value, (dict, list)) else f", not {value!r}"
            reason = first["msg"].replace("Input should be", "should be") + shown
    more = f" (and {len(others)} more)" if others else ""
    return f"{where}: {'.'.join(loc)}: {reason}{more}" if loc else f"{where}: {reason}{more}"
