"""Bad files of every kind, in the places where commands read such files.

Each ends in one line, `error: ...`, and a status other than 0; no input is changed and no half-written file remains.
"""

import io
import os
import pickle
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import scipy.io
import tifffile
import torch
import yaml

from codes import deblur, train
from codes import test as test_script
from codes.data.images import write_8bit
from codes.data.kernels import write_kernel
from codes.models.weights import save_weights
from codes.restoration.image_files import read_photo
from codes.utils.errors import run_command_line
from tests import training_recipe
from tests.conftest import files_in, full_disk, one_error, permissions_count, roots_of, small_network

SMALL = {"preset": "tiny", "nf_p": 3, "nf_d": 3, "nb": 1, "nf_n": 4}


class Code:
    """Unpickling this runs a command."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def content(write: Callable, *arguments, **keys) -> bytes:
    """What a function writes into a file that it gets as its first argument."""
    file = io.BytesIO()
    write(file, *arguments, **keys)
    return file.getvalue()


def png(width: int, height: int, pixels: bytes) -> bytes:
    """An 8-bit grey PNG whose header claims any size."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(pixels), b"IEND")
    parts = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def npy(array, **keys) -> bytes:
    return content(np.save, array, **keys)


def pth(state) -> bytes:
    return content(lambda file: torch.save(state, file))


def without_persistent_ids() -> bytes:
    """A weight file whose pickle refers to a storage by a number, which torch does not expect."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return 5 if value == "storage" else None

    data, file = io.BytesIO(), io.BytesIO()
    Pickler(data, 2).dump({"a": "storage"})
    with zipfile.ZipFile(io.BytesIO(pth({"a": torch.zeros(1)}))) as sound, zipfile.ZipFile(file, "w") as made:
        for name in sound.namelist():
            made.writestr(name, data.getvalue() if name.endswith("data.pkl") else sound.read(name))
    return file.getvalue()


def link_to(name: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(path.parent / (name or path.name))


NOISE = np.random.RandomState(0)
HUGE = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
GREY = np.full((40, 48), 0.5, np.float32)
HOLE = np.where(np.eye(40, 48), np.nan, GREY).astype(np.float32)
PNG = png(48, 40, b"".join(b"\0" + NOISE.bytes(48) for _ in range(40)))
SOUND = small_network(nb=1).state_dict()

LINKS = {"dangling link": ("", link_to("nowhere")), "link to itself": ("", link_to(""))}
NO_FILES = LINKS | {"folder": ("", Path.mkdir)}
IMAGES = NO_FILES | {
    "empty": (".png", b"", "not a readable image"),
    "text": (".png", b"no image", "not a readable image"),
    "truncated PNG": (".png", PNG[: len(PNG) // 2], "not a readable image"),
    "bomb": (".png", png(60_000, 60_000, b"\0")),
    "truncated TIFF": (".tif", content(tifffile.imwrite, GREY)[:3000]),
    "NaN": (".tif", content(tifffile.imwrite, HOLE), "not finite"),
    "integers": (".tif", content(tifffile.imwrite, np.ones((40, 48), np.int32))),
    "pickle": (".png", pickle.dumps(Code())),
    "pipe": (".png", os.mkfifo),
}
KERNELS = NO_FILES | {
    "empty": (".png", b"", "not a readable image"),
    "truncated PNG": (".png", PNG[: len(PNG) // 2], "not a readable image"),
    "bomb": (".png", png(60_000, 60_000, b"\0")),
    "huge": (".npy", content(np.lib.format.write_array_header_1_0, HUGE)),
    "too large": (".npy", npy(np.ones((75, 75)))),
    "no values": (".npy", npy(np.ones((0, 3)))),
    "NaN": (".npy", npy(np.array([[1, np.nan, 1]]))),
    "all zero": (".npy", npy(np.zeros((3, 3)))),
    "pickle": (".npy", npy(np.array([Code()], object), allow_pickle=True)),
    "truncated npy": (".npy", npy(np.ones((9, 9)))[:300]),
    "text": (".npy", b"no kernel"),
    "damaged npy header": (".npy", npy(np.ones((9, 9))).replace(b"(9, 9)", b"(9, 9,")),
    "text as mat": (".mat", b"no kernel" * 40),
    "text as TIFF": (".tif", b"no kernel"),
    "empty mat": (".mat", b""),
    "truncated mat": (".mat", content(scipy.io.savemat, {"k": NOISE.uniform(size=(9, 9))})[:300]),
    "mat without a kernel": (".mat", content(scipy.io.savemat, {"text": "kernel"})),
}
WEIGHTS = NO_FILES | {
    "empty": (".pth", b""),
    "empty safetensors": (".safetensors", b""),
    "text": (".safetensors", b"no weights"),
    "truncated": (".pth", pth(SOUND)[:5000]),
    "truncated safetensors": (".safetensors", safetensors.torch.save(SOUND)[:5000]),
    "code": (".pth", pth({"params": Code()}), "refused, the pickle carries code"),
    "plain pickle": (".pth", pickle.dumps(Code()), "refused, the pickle carries code"),
    "NaN": (".pth", pth({key: torch.full_like(value, torch.nan) for key, value in SOUND.items()})),
    "another network's": (".pth", pth({"weight": torch.zeros(3)})),
    "claims values": (".pth", pth(SOUND | {"more": torch.zeros(1).expand(10**6, 10**6)}), "values, which is refused"),
    "no persistent id": (".pth", without_persistent_ids()),
    "no tensors": (".pth", pth([1, 2]), "holds no weights"),
    "other values": (".pth", pth({"epoch": 3}), "holds no weights"),
    "no names": (".pth", pth({0: torch.zeros(3)}), "holds no weights"),
}
OPTIONS = NO_FILES | {
    "pipe": ("", os.mkfifo),
    "empty": (".yml", b""),
    "binary": (".yml", bytes(range(128, 256)), "not a text file"),
    "tag": (".yml", b"!!python/object/apply:os.system ['touch executed']\n"),
    "tag in it": (".yml", b"name: !!python/object/apply:os.system ['touch executed']\n", "determine a constructor"),
    "syntax": (".yml", b"name: a\n\tb: c\n", "line 2"),
    "an alias of itself": (".yml", b"a: &a [*a]\n"),
    "list": (".yml", b"- 1\n", "an option file is a list of"),
    "a card without a network": (".yml", b"options: {}\n"),
    "a card of a number": (".yml", b"options: 3\n"),
    "a card with a misspelt preset": (".yml", b"options: {network_G: {preset: tinny}}\n"),
    "deep": (".yml", b"[" * 1000),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Sound files for every command."""
    folder = tmp_path_factory.mktemp("sound")
    training_recipe.sharp_images(folder / "set")
    write_8bit(folder / "blurry.png", NOISE.randint(0, 256, (40, 48, 3)).astype(np.uint8))
    write_kernel(folder / "kernel.png", NOISE.uniform(size=(5, 5)))
    save_weights(small_network(nb=1), folder / "net.safetensors")
    (folder / "net.yml").write_text(f"options: {{network_G: {SMALL}}}")
    test_set = {"name": "a", "mode": "LQGTDB"} | roots_of(folder / "set")
    test = {"name": "t", "gpu_ids": [], "network_G": SMALL, "datasets": {"a": test_set}}
    test["path"] = {"pretrain_model_G": str(folder / "net.safetensors")}
    (folder / "test.yml").write_text(yaml.safe_dump(test))
    training = {"network_G": SMALL, "train__niter": 1, "datasets__train__n_workers": 0, "datasets__val": {}}
    training_recipe.write(folder / "train.yml", folder / "set", **training)
    return folder


@pytest.fixture
def place(sound, tmp_path, monkeypatch) -> Path:
    """The sound files in a folder of its own, the working folder."""
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    for name in ("test.yml", "train.yml"):
        (tmp_path / name).write_text((sound / name).read_text().replace(str(sound), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def restore(place: Path, **changes) -> int:
    arguments = {"input": "blurry.png", "kernel": "kernel.png", "weights": "net.safetensors", "output": "out/sharp.png"}
    words = [word for name, value in (arguments | changes).items() for word in (f"--{name}", str(value))]
    return run_command_line(deblur.main, words)


def evaluate(place: Path, *arguments: str, option_file: Path = Path("test.yml")) -> int:
    return run_command_line(test_script.main, ["-opt", str(option_file), "--results", "results", *arguments])


def learn(place: Path, *arguments: str, option_file: Path = Path("train.yml")) -> int:
    return run_command_line(train.main, ["-opt", str(option_file), "--root", str(place / "root"), *arguments])


def in_set(name: str, command: Callable) -> Callable:
    """The command, with image a of a folder of the set replaced by the bad file."""

    def run(place: Path, bad: Path) -> int:
        (place / "set" / name / "a.png").unlink()
        bad.rename(place / "set" / name / f"a{bad.suffix}")
        return command(place)

    return run


def as_card(place: Path, bad: Path) -> int:
    """Restore with weights whose card is the bad file."""
    folder = place / "set" / "card"
    folder.mkdir()
    bad.rename(folder / "net.yml")
    shutil.copy(place / "net.safetensors", folder)
    return restore(place, weights=folder / "net.safetensors")


def only(kinds: dict, *names: str) -> dict:
    return {name: kinds[name] for name in names}


PLACES: dict[str, tuple[dict, Callable[[Path, Path], int]]] = {
    "deblur --input": (IMAGES, lambda place, bad: restore(place, input=bad)),
    "deblur --mask": (
        only(IMAGES, "folder", "text", "bomb", "NaN", "pipe"),
        lambda place, bad: restore(place, mask=bad),
    ),
    "deblur --kernel": (KERNELS, lambda place, bad: restore(place, kernel=bad)),
    "deblur --weights": (WEIGHTS, lambda place, bad: restore(place, weights=bad, preset="tiny")),
    "deblur card": (OPTIONS | {"list": (".yml", b"- 1\n", "a card holds the network")}, as_card),
    "test GT": (only(IMAGES, "dangling link", "truncated PNG", "NaN"), in_set("GT", evaluate)),
    "test LQ": (only(IMAGES, "folder", "empty", "bomb", "pickle"), in_set("Noise_03", evaluate)),
    "test KM": (only(KERNELS, "folder", "truncated PNG", "all zero", "pickle"), in_set("Kernel", evaluate)),
    "test weights": (
        only(WEIGHTS, "dangling link", "truncated", "code", "plain pickle", "NaN"),
        lambda place, bad: evaluate(place, "--set", f"path.pretrain_model_G={bad}"),
    ),
    "test -opt": (OPTIONS, lambda place, bad: evaluate(place, option_file=bad)),
    "train GT": (only(IMAGES, "empty", "truncated PNG", "bomb", "NaN", "pickle"), in_set("GT", learn)),
    "train weights": (
        only(WEIGHTS, "folder", "code", "another network's"),
        lambda place, bad: learn(place, "--set", f"path.pretrain_model_G={bad}"),
    ),
    "train -opt": (only(OPTIONS, "folder", "empty", "tag", "list"), lambda place, bad: learn(place, option_file=bad)),
}
CASES = [pytest.param(use, kind, id=f"{use}: {kind}") for use, (kinds, _) in PLACES.items() for kind in kinds]

# What a command may have made before it met the bad file: the other images' results, and its options.
MADE = ("results/", "root/experiments/", "set/")


@pytest.mark.parametrize(("use", "kind"), CASES)
def test_bad_files(place, capsys, use, kind):
    kinds, run = PLACES[use]
    suffix, content, *message = kinds[kind]
    suffix = suffix or (".yml" if "list" in kinds else ".pth" if kinds is WEIGHTS else ".png")
    bad = place / f"schlecht, wirklich ü{suffix}"
    content(bad) if callable(content) else bad.write_bytes(content)
    before = files_in(place)
    assert run(place, bad) == 1
    assert "".join(message) in one_error(capsys)
    after = files_in(place)
    assert "executed" not in after
    assert {name for name in after.keys() - before.keys() if not name.startswith(MADE)} == set()
    assert not [name for name in after if Path(name).name.startswith(".")], "something half-written"
    unchanged = [name for name in before if name != bad.name and not re.fullmatch(r"set/\w+/a\.png", name)]
    assert all(after[name] == before[name] for name in unchanged)


@pytest.mark.parametrize("run", [restore, evaluate, learn])
def test_a_disk_that_is_full(place, capsys, run):
    before = files_in(place)
    with full_disk(200):
        assert run(place) == 1
    assert " MB are free there, make space" in one_error(capsys)
    after = files_in(place)
    assert all(len(after[name]) <= 200 for name in after.keys() - before.keys())
    new = [Path(name) for name in after.keys() - before.keys()]
    assert not [path for path in new if path.suffix in (".png", ".pth", ".safetensors") or path.name.startswith(".")]


@pytest.mark.parametrize(("run", "target"), [(restore, "out"), (evaluate, "results"), (learn, "root")])
def test_a_folder_that_cannot_be_written(place, capsys, run, target):
    before = files_in(place)
    place.chmod(0o500)
    try:
        with permissions_count():
            assert run(place) == 1
    finally:
        place.chmod(0o700)
    assert "Permission denied" in one_error(capsys)
    assert files_in(place) == before
    (place / target).write_text("precious")
    assert run(place) == 1
    one_error(capsys)
    assert (place / target).read_text() == "precious"


@pytest.mark.parametrize("run", [restore, evaluate, learn])
def test_folders_need_not_be_utf8_but_names_of_images_do(place, capsys, run):
    """OpenCV crashes at a path that is not UTF-8, and CSV files cannot hold such a name."""
    odd = place / os.fsdecode(b"odd \xff")
    odd.mkdir()
    for name in ("test.yml", "train.yml"):
        shutil.copy(place / name, odd)
    before = files_in(place)
    if run is restore:
        assert restore(place, output=odd / os.fsdecode(b"\xff.png")) == 0
    elif run is evaluate:
        assert evaluate(place, "--results", str(odd)) == 0
    else:
        assert learn(place, "--root", str(odd)) == 0
    assert any(name.startswith(odd.name) for name in files_in(place).keys() - before.keys())
    for folder in ("GT", "Noise_03", "Kernel"):
        path = next((place / "set" / folder).iterdir())
        path.rename(path.with_name(os.fsdecode(b"\xff") + path.suffix))
    capsys.readouterr()
    assert (restore(place, input="set/GT", output="out") if run is restore else run(place)) == 1
    assert "the names of images have to be UTF-8" in one_error(capsys)


def test_links_are_followed_and_strange_names_work(place):
    name = 'a b\'c "d" $HOME ;ü漢字.png'
    (place / "elsewhere").mkdir()
    (place / "o ü").symlink_to(place / "elsewhere")
    (place / name).symlink_to(place / "blurry.png")
    (place / f"k {name}").symlink_to(place / "kernel.png")
    assert restore(place, input=name, kernel=f"k {name}", output=f"o ü/{name}") == 0
    assert read_photo(place / "elsewhere" / name).pixels.shape == (40, 48, 3)
    assert all((place / link).is_symlink() for link in (name, f"k {name}", "o ü"))
