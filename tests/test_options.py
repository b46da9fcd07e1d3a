"""Option files: the authors' run unmodified, mistakes give one line with the key's path."""

import functools

import pytest
import torch
import yaml

from codes.models.factory import build_network
from codes.options import TestOptions, dump_options, load_options, network_of_file
from codes.training.options import TrainOptions
from codes.utils.errors import UserError
from codes.utils.option_files import CATALOGUE
from codes.utils.yaml_files import read_yaml
from tests.conftest import ROOT

OPTION_FILES = sorted((ROOT / "options" / "test").glob("*.yml"))
LIGHT = ROOT / "options" / "test" / "light_table2.yml"


def authors_file(name: str, features: int, stages: int, weights: str, lai: bool = False) -> str:
    """One of the authors' three files, rewritten from its description (spec, sections 5 and 6)."""
    roots = {
        "CBSD": "CBSD100/Noise_0{n}/GT CBSD100/Noise_0{n}/BL CBSD100/Noise_0{n}/Kernel",
        "Levin": "Levin/GT Levin/Noise_0{n} Levin/Kernel",
        "Set5": "Set5/GT Set5/Noise_0{n} Set5/Kernel",
    }
    sets = [("Jason", "Lai/GT Lai/BL Lai/Kernel")] if lai else []
    sets = sets or [(f"{kind}_n0{n}", roots[kind].format(n=n)) for kind in roots for n in (1, 3, 5)]
    text = f"name: {name}\nsuffix: ~\nmodel: db\ndistortion: sr\nscale: 1\ncrop_border: ~\ngpu_ids: [0]\n"
    text += "datasets:\n  test_0:\n    name: other\n" if lai else ""
    text += "datasets:\n"
    for number, (set_name, folders) in enumerate(sets):
        text += f"  test_{number}:\n    name: {set_name}\n    mode: LQGTDB\n"
        for key, folder in zip(("GT", "LQ", "KM"), folders.split(), strict=True):
            text += f"    dataroot_{key}: Datasets/{folder}\n"
    return (
        f"{text}network_G:\n  which_model_G: DSDNet\n  in_nc: 3\n  out_nc: 3\n"
        f"  nf_p: {features}\n  nf_d: {features}\n  max_nc: 4\n  nb: {stages}\n  upscale: 1\n  pm: replicate\n  dp: 0\n"
        f"path:\n  pretrain_model_G: {weights}\n"
    )


AUTHORS_FILES = {
    "full_table2": authors_file("DSDNet_result_table2_full", 49, 4, "Models/full.pth"),
    "light_table2": authors_file("DSDNet_result_table2_light", 24, 3, "Models/light.pth"),
    "full_table3": authors_file("DSDNet_result_table3_full", 49, 4, "Models/full.pth", lai=True),
}


@pytest.mark.parametrize("name", AUTHORS_FILES)
def test_the_authors_files_parse_and_equal_ours(tmp_path, name, capsys):
    path = tmp_path / f"{name}.yml"
    path.write_text(AUTHORS_FILES[name])
    options = load_options(TestOptions, path)
    assert options == load_options(TestOptions, ROOT / "options" / "test" / f"{name}.yml")
    assert len(options.datasets) == (1 if name == "full_table3" else 9)
    warned = capsys.readouterr().err
    assert ("'datasets' on line 11 repeats line 8" in warned) == (name == "full_table3")


@pytest.mark.parametrize("path", OPTION_FILES, ids=lambda path: path.stem)
def test_every_option_file_builds_its_networks_and_reads_back_the_same(tmp_path, path):
    options = load_options(TestOptions, path)
    for method in options.rows().values():
        with torch.device("meta"):
            build_network(method.network_G)
    (tmp_path / "options.yml").write_text(dump_options(options))
    assert load_options(TestOptions, tmp_path / "options.yml") == options


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network_G.nbb=3", "network_G.nbb: unknown key; did you mean 'nb'?"),
        ("dataset.a=1", "dataset: unknown key; did you mean 'datasets'?"),
        ("datasets.test_0.dataroot_GTT=a", "datasets.test_0.dataroot_GTT: unknown key; did you mean 'dataroot_GT'?"),
        ("path.pretrain_model=a", "path.pretrain_model: unknown key; did you mean 'pretrain_model_G'?"),
        ("network_G.nb=yes", "network_G.nb: should be a valid integer, not True"),
        ("network_G.nb=0", "network_G.nb: should be greater than 0, not 0"),
        ("network_G.dp=1", "network_G.dp: should be less than 1, not 1"),
        ("network_G.pm=mirror", "network_G.pm: should be 'replicate', 'circular' or 'zero', not 'mirror'"),
        ("network_G.which_model_G=DSDnet", "network_G.which_model_G: unknown network 'DSDnet'; did you mean 'DSDNet'?"),
        ("network_G.preset=lite", "network_G.preset: unknown preset 'lite'; did you mean 'light'?"),
        ("gpu_ids=0", "gpu_ids: should be auto or a list of GPU numbers such as [0, 1], not 0"),
        ("gpu_ids=[-1]", "gpu_ids: should be auto or a list of GPU numbers such as [0, 1], not [-1]"),
        ("datasets=[CBSD_n1]", "datasets.CBSD_n1: no 'CBSD_n1' in options/datasets.yml; did you mean 'CBSD_n01'?"),
        ("datasets=[Jason, Jason]", "datasets: 'Jason' is in the list twice"),
        ("methods=[x0, Weiner]", "methods.Weiner: no 'Weiner' in options/datasets.yml; did you mean 'Wiener'?"),
        ("name=..", "name: "),
        (f"name={'a' * 101}", "name: should consist of letters, digits and . _ + - (at most 100)"),
        ("network_G.dp=1e-320", "network_G.dp: should be 0 or of a size between 1e-12 and 1e+10, not 1e-320"),
        ("max_images=1" + 30 * "0", "max_images: should be 0 or of a size"),
        ("suffix=a/b", "suffix: "),
        ("datasets.test_0.name=/tmp/x", "datasets.test_0.name: "),
        ("datasets={}", "datasets: "),
        ("datasets.test_0.name=Levin_n01", "two sets have the same name"),
        ("methods={a b: {network_G: {which_model_G: Blurry}}}", "methods.a b: should consist of letters, digits"),
        (
            "methods={W: {network_G: {which_model_G: Wiener, balence: 2}}}",
            "network_G.balence: unknown key; did you mean",
        ),
        ("methods={d: {network_G: {preset: fulll}}}", "methods.d.network_G.preset: unknown preset 'fulll'"),
        ("network_G=~", "needs either network_G (one network) or methods (several)"),
        ("methods={a: {network_G: {which_model_G: Blurry}}}", "needs either network_G (one network) or methods"),
    ],
)
def test_mistakes_give_one_line(override, message):
    with pytest.raises(UserError) as error:
        load_options(TestOptions, LIGHT, [override])
    assert str(error.value).startswith((f"{LIGHT}: ", f"--set {override}: "))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["name", "datasets.test_3.dataroot_KM", "network_G.nf_p"])
def test_a_missing_key_is_named(tmp_path, key):
    content = yaml.safe_load(LIGHT.read_text())
    *groups, last = key.split(".")
    del functools.reduce(dict.get, groups, content)[last]
    path = tmp_path / "options.yml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=rf"options\.yml: {key}: is required but missing$"):
        load_options(TestOptions, path)


@pytest.mark.parametrize("override", ["a", "a..b=3", "name.x=3", "x=[", "x=!!python/object/apply:os.getcwd []"])
def test_malformed_overrides(override):
    with pytest.raises(UserError, match="--set "):
        load_options(TestOptions, LIGHT, [override])


@pytest.mark.parametrize("preset", [["network_G={preset: full, nb: 2}"], ["network_G.preset=full", "network_G.nb=2"]])
def test_overrides_are_typed_like_the_file(preset):
    """A preset on the command line replaces the file's keys."""
    options = load_options(TestOptions, LIGHT, [*preset, "network_G.dp=1e-1", "gpu_ids=[]", "max_images=2"])
    assert (options.network_G.nf_p, options.network_G.n_iter, options.network_G.dropout_rate) == (49, 2, 0.1)
    assert (options.gpu_ids, options.max_images) == ([], 2)


def test_sets_and_methods_are_named_or_written_out(tmp_path):
    path = tmp_path / "short.yml"
    path.write_text("name: short\nmethods: {x0: x0, mine: dsdnet_tiny}\ndatasets: [Levin_n03, Quickstart_n01]\n")
    options = load_options(TestOptions, path, ["datasets.Levin_n03.noise_sigma=0.1"])
    levin, quickstart = options.datasets.values()
    assert (levin.name, levin.dataroot_LQ, levin.noise_sigma) == ("Levin_n03", "Datasets/Levin/Noise_03", 0.1)
    assert quickstart.embedded
    assert options.rows()["mine"].label == "DSDNet-Tiny (ours)"
    assert options.gpu_ids == "auto"
    (tmp_path / "options.yml").write_text(dump_options(options))
    assert "dataroot_GT: Datasets/Levin/GT" in (tmp_path / "options.yml").read_text()
    assert load_options(TestOptions, tmp_path / "options.yml") == options


def test_the_catalogue_holds_valid_sets_and_methods(tmp_path):
    names = {group: list(blocks) for group, blocks in read_yaml(CATALOGUE).items()}
    (tmp_path / "all.yml").write_text(yaml.safe_dump({"name": "all", **names}))
    options = load_options(TestOptions, tmp_path / "all.yml")
    assert [test_set.name for test_set in options.datasets.values()] == names["datasets"]
    for method in options.rows().values():
        with torch.device("meta"):
            build_network(method.network_G)


def test_a_file_extends_another(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.yml").write_text(
        "name: base\nmax_images: 3\ncrop_border: 2\nmethods: [x0, Wiener]\ndatasets: {a: Levin_n01, b: Set5_n01}\n"
    )
    (tmp_path / "sub" / "middle.yml").write_text("base: ../base.yml\nname: middle\nmethods: [x0]\n")
    (tmp_path / "top.yml").write_text("base: sub/middle.yml\ncrop_border: ~\ndatasets: {b: Set5_n03, c: Jason}\n")
    options = load_options(TestOptions, tmp_path / "top.yml")
    assert (options.name, options.max_images, options.crop_border) == ("middle", 3, None)
    assert [entry.name for entry in options.datasets.values()] == ["Levin_n01", "Set5_n03", "Jason"]
    assert list(options.rows()) == ["x0"]
    # A preset replaces the network of the base.
    (tmp_path / "net.yml").write_text(f"base: {LIGHT}\nnetwork_G: {{preset: full}}\n")
    assert load_options(TestOptions, tmp_path / "net.yml").network_G.nf_p == 49
    assert network_of_file(tmp_path / "net.yml").nf_p == 49


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("top.yml", "base: top.yml extends this file in turn"),
        ("other.yml", "base: top.yml extends this file in turn"),
        ("none.yml", "none.yml: no such option file"),
        ("[a]", "base: should be the name of an option file"),
    ],
)
def test_a_base_that_does_not_work(tmp_path, base, message):
    (tmp_path / "top.yml").write_text(f"base: {base}\nname: top\n")
    (tmp_path / "other.yml").write_text("base: top.yml\n")
    with pytest.raises(UserError) as error:
        load_options(TestOptions, tmp_path / "top.yml")
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["train/own", "test/quickstart", "test/light_table2"])
def test_a_file_of_the_other_command(name):
    kind, schema = ("training", TestOptions) if name.startswith("train") else ("test", TrainOptions)
    message = rf"{name}.yml is a {kind} file; use codes/{name.split('/')[0]}.py$"
    with pytest.raises(UserError, match=message):
        load_options(schema, ROOT / "options" / f"{name}.yml")
