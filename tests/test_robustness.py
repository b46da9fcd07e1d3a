"""Wrong kernels, the trials made of them, and studies/robustness.py."""

import numpy as np
import pytest
import yaml
from scipy.ndimage import center_of_mass

from codes.data.images import decode, to_8bit, write_8bit
from codes.data.kernel_generator import camera_shake, gaussian
from codes.data.kernels import write_kernel
from codes.inference.restorer import Restorer
from codes.models.factory import build_network
from codes.models.network import Network
from codes.models.weights import save_weights
from codes.options import load_options
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import read_csv
from studies import publish, robustness
from studies.robustness import BORDERS, Point, RobustnessOptions, Scene, trial
from tests.conftest import one_error, small_network


@pytest.fixture
def scene(random):
    return Scene("a", random.randint(0, 256, (40, 48, 3)).astype(np.uint8), camera_shake(random, 9))


def about_the_middle(kernel: np.ndarray) -> np.ndarray:
    """Centre of mass, relative to the kernel's middle."""
    return np.array(center_of_mass(kernel)) - (np.array(kernel.shape) - 1) / 2


def spread(kernel: np.ndarray) -> float:
    """Standard deviation over the rows."""
    rows, mass = np.arange(len(kernel)), kernel.sum(1)
    return float(np.sqrt((mass * rows**2).sum() - (mass * rows).sum() ** 2))


@pytest.mark.parametrize(("pixels", "angle"), [(0, 0), (0.5, 2.0), (2, 0)])
def test_shifted_kernel(random, pixels, angle):
    moved = robustness.shifted(gaussian(13, 1.5), pixels, angle)
    assert moved.sum() == pytest.approx(1)
    assert moved.min() >= 0
    expected = pixels * np.array([np.sin(angle), np.cos(angle)])
    np.testing.assert_allclose(about_the_middle(moved), expected, atol=0.01)
    if pixels == 2:  # whole pixels change no weight
        kernel = camera_shake(random, 15)
        np.testing.assert_allclose(robustness.shifted(kernel, 2, 0)[3:-3, 5:-1], kernel, atol=1e-12)


@pytest.mark.parametrize("factor", [0.8, 1, 1.2])
def test_rescaled_kernel(factor):
    kernel = np.roll(gaussian(25, 2.0), 3, axis=0)
    scaled = robustness.rescaled(kernel, factor)
    assert scaled.sum() == pytest.approx(1)
    assert spread(scaled) == pytest.approx(2 * factor, rel=0.01)
    np.testing.assert_allclose(about_the_middle(scaled), about_the_middle(kernel), atol=0.01)
    assert all(side % 2 for side in scaled.shape)
    if factor == 1:
        np.testing.assert_allclose(scaled, kernel, atol=1e-12)


def test_noisy_kernel(random):
    kernel = camera_shake(random, 15)
    noisy = robustness.noisy(kernel, 0.05, 1)
    assert noisy.sum() == pytest.approx(1)
    assert noisy.min() == 0
    assert np.abs(noisy - kernel).max() > 0.01 * kernel.max()
    np.testing.assert_array_equal(noisy, robustness.noisy(kernel, 0.05, 1))
    np.testing.assert_allclose(robustness.noisy(kernel, 0, 1), kernel, atol=1e-12)


def test_with_a_wrong_kernel_the_blurry_image_is_that_of_the_right_one(scene):
    np.testing.assert_array_equal(trial(scene, Point("noise", "0")).blurry, to_8bit(scene.blurred))
    right = trial(scene, Point("noise", "1"))
    for point in (Point("kernel_shift", "1"), Point("kernel_scale", "10"), Point("kernel_noise", "10")):
        given = trial(scene, point)
        np.testing.assert_array_equal(given.blurry, right.blurry)
        assert given.kernel.shape != scene.kernel.shape or np.abs(given.kernel - scene.kernel).max() > 1e-3
        assert given.noise_sigma == right.noise_sigma == pytest.approx(0.01)


def test_the_scene_beyond_the_frame_matters_at_the_border_only(scene):
    replicate, inner, beyond, inner_beyond = (trial(scene, Point("border", value)) for value in BORDERS)
    assert (replicate.blurry != beyond.blurry).any()
    assert (replicate.crop_border, inner.crop_border, inner_beyond.crop_border) == (0, 4, 4)
    np.testing.assert_array_equal(replicate.truth, scene.sharp[4:-4, 4:-4])
    np.testing.assert_array_equal(replicate.blurry, inner.blurry)
    interior = (slice(4, -4), slice(4, -4))
    np.testing.assert_array_equal(inner.blurry[interior], inner_beyond.blurry[interior])


def test_output_that_is_not_finite_is_an_error(scene):
    class Broken(Network):
        def forward(self, blurry, kernel):
            return blurry * float("nan")

    with pytest.raises(UserError, match="not finite"):
        robustness.score(Restorer(Broken()), trial(scene, Point("noise", "1")))


@pytest.fixture
def project(tmp_path, random):
    """Two images with kernels, a small network, and an option file for them."""
    for name in "ab":
        write_8bit(tmp_path / "GT" / f"{name}.png", random.randint(0, 256, (40, 48, 3)).astype(np.uint8))
        write_kernel(tmp_path / "Kernel" / f"{name}.png", camera_shake(random, 9))
    save_weights(small_network(), tmp_path / "net.safetensors")
    small = {"preset": "tiny", "nf_p": 3, "nf_d": 3, "nb": 2, "nf_n": 4}
    folders = {"dataroot_GT": str(tmp_path / "GT"), "dataroot_KM": str(tmp_path / "Kernel")}
    points = {"noise": [0], "kernel_shift": [0.5], "kernel_scale": [-10], "kernel_noise": [5]}
    methods = {
        "Blurry": {"network_G": {"which_model_G": "Blurry"}},
        "Mine": {"network_G": small, "path": {"pretrain_model_G": str(tmp_path / "net.safetensors")}},
    }
    options = {"name": "robustness", "gpu_ids": [], "images": 2, **folders, **points, "methods": methods}
    (tmp_path / "options.yml").write_text(yaml.safe_dump(options, sort_keys=False))
    return tmp_path


def call(project, *arguments):
    fixed = ["-opt", project / "options.yml", "--results", project / "results", "--target", project / "fig"]
    return run_command_line(robustness.main, [str(argument) for argument in (*fixed, *arguments)])


def test_the_option_file_is_valid():
    options = load_options(RobustnessOptions, robustness.OPTION_FILE)
    points = options.points()
    assert len(points) == len(set(points))
    assert {point.experiment for point in points} == {*robustness.PANELS, "border"}
    for method in options.methods.values():
        build_network(method.network_G)


def test_measuring_resuming_and_publishing(project, monkeypatch):
    scored, interrupt_at = [], [7]

    def score(restorer, given):
        if len(scored) in interrupt_at:
            interrupt_at.clear()
            raise KeyboardInterrupt
        scored.append(type(restorer.network).__name__)
        return true_score(restorer, given)

    true_score = robustness.score
    monkeypatch.setattr(robustness, "score", score)
    folder, published = project / "results" / "robustness", project / "published"
    assert call(project) == 130
    assert len(read_csv(folder / "robustness.csv")) == 3
    with pytest.raises(UserError, match="the measurement is not finished"):
        publish.publish_robustness(folder, published / "robustness")
    assert call(project) == 0
    rows = read_csv(folder / "robustness.csv")
    points = 2 + 1 + 1 + 1 + 4
    assert len(rows) == 2 * points
    assert len(scored) == 1 + 2 * 2 * points  # one image twice: its row was not whole
    assert list(rows[0]) == ["method", "label", "experiment", "value", "psnr", "ssim", "images"]
    assert {row["images"] for row in rows} == {"2"}
    assert [row["method"] for row in rows] == ["Blurry"] * points + ["Mine"] * points
    assert np.ptp(decode(project / "fig" / "robustness.png")) > 200

    publish.publish_robustness(folder, published / "robustness")
    assert read_csv(published / "robustness.csv") == rows
    scored.clear()
    save_weights(small_network(0.02), project / "net.safetensors")
    assert call(project, "--set", "noise=[0, 2]") == 0
    # Blurry lacks the new level only; the network has other weights.
    assert (scored.count("Blurry"), len(scored)) == (2, 2 + 2 * (points + 1))


def test_quick_leaves_the_complete_measurement_alone(project):
    assert call(project, "--quick", "--set", "images=1") == 0
    folder = project / "results" / "quick" / "robustness"
    assert [path.name for path in (project / "results").iterdir()] == ["quick"]
    assert (folder / "robustness.png").is_file()
    assert {row["images"] for row in read_csv(folder / "robustness.csv")} == {"1"}
    assert not (project / "fig").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataroot_GT=gone", "gone is missing (python codes/scripts/prepare_datasets.py"),
        ("kernel_shift=[-1]", "kernel_shift"),
        ("methods={A: {network_G: {preset: tiny}, path: {pretrain_model_G: gone.pth}}}", "no method"),
    ],
)
def test_mistakes_end_in_one_line_before_anything_is_written(project, capsys, override, message):
    assert call(project, "--set", override) == 1
    assert message in one_error(capsys)
    assert not (project / "results").exists()
