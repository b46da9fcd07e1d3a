"""The parts of training: data, losses, schedule, average, checkpoints, step, reports."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from codes.data.degradation import blurred
from codes.data.images import read_image, write_8bit
from codes.data.patch_options import CAMERA_STEPS, KernelFrequencies
from codes.data.patches import Batches, Request, Sample, TrainingPatches, collate, draw_kernel
from codes.data.text_pages import text_page
from codes.inference.gaps import fill_gaps
from codes.inference.noise_level import noise_level
from codes.inference.restorer import Restored, Restorer
from codes.models.factory import build_network, build_preset
from codes.models.weights import save_weights
from codes.training import checkpoint
from codes.training.losses import training_loss
from codes.training.monitor import Monitor
from codes.training.options import Recipe
from codes.training.schedule import build_optimizer, build_scheduler, rate_factor
from codes.training.trainer import MOST_SKIPPED_IN_A_ROW, Trainer, moving_average, state_by_weight_names
from codes.training.validation import Validation
from codes.utils.errors import UserError
from codes.utils.processes import Processes
from tests import training_recipe
from tests.conftest import full_disk

DENOISER = {"which_model_G": "Denoiser"}


def patches_of(data: Path, **overrides) -> TrainingPatches:
    options = training_recipe.options(data, **{f"datasets__train__{key}": value for key, value in overrides.items()})
    return TrainingPatches(options.datasets.train, data / "GT", seed=3)


def trainer_of(data: Path, **overrides) -> Trainer:
    options = training_recipe.options(data, **overrides)
    torch.manual_seed(0)
    return Trainer(build_network(options.network_G), options.train, torch.device("cpu"), Processes())


def batch_of(data: Path, size: int = 24, count: int = 2, **overrides) -> Sample:
    patches = patches_of(data, **overrides)
    return collate([patches[Request(number, size)] for number in range(count)])


def same_channels(image: Tensor) -> bool:
    return torch.equal(image, image[:1].expand_as(image))


def test_sample_is_the_blurred_patch_plus_noise(data):
    patches = patches_of(data, real_border=0.0, noise=[0.05, 0.05])
    sample = patches[Request(5, 24)]
    assert sample.sharp.shape == sample.blurry.shape == (3, 24, 24)
    assert sample.kernel.shape == (9, 9)
    assert float(sample.kernel.sum()) == pytest.approx(1, abs=1e-6)
    expected = blurred(sample.sharp.permute(1, 2, 0).numpy(), sample.kernel.double().numpy())
    np.testing.assert_allclose((sample.blurry - sample.noise).permute(1, 2, 0), expected, atol=1e-5)
    assert float(sample.noise.std()) == pytest.approx(0.05, rel=0.1)
    assert float(sample.sigma) == pytest.approx(0.05)


def test_grey_patches_and_their_noise(data):
    grey, colour = (patches_of(data, grey=share)[Request(1, 24)] for share in (1.0, 0.0))
    assert all(map(same_channels, (grey.sharp, grey.blurry, grey.noise)))
    assert not same_channels(colour.sharp)
    assert not same_channels(colour.noise)
    independent = patches_of(data, grey=1.0, grey_independent=1.0)[Request(1, 24)]
    assert same_channels(independent.sharp)
    assert not same_channels(independent.noise)
    half = patches_of(data, grey=0.5, grey_independent=0.5)
    samples = [half[Request(number, 24)] for number in range(24)]
    kinds = {(same_channels(sample.sharp), same_channels(sample.noise)) for sample in samples}
    assert kinds == {(True, True), (True, False), (False, False)}


# Means of the sharp patch, the blurry patch and the noise level of the first samples.
FROZEN = [
    [0.6791, 0.6786, 0.0169],
    [0.7327, 0.7285, 0.0455],
    [0.6667, 0.6671, 0.0073],
    [0.7533, 0.7494, 0.0355],
    [0.558, 0.5552, 0.0453],
    [0.6029, 0.6084, 0.0234],
]


def test_the_random_stream_is_frozen(data):
    """Checkpoints of earlier versions continue with the same samples: a new option may draw only if it is used."""
    options = {"grey": 0.4, "masks": 0.3, "round_8bit": True, "noise_exponent": 1.25, "real_border": 0.15}
    patches = patches_of(data, **options)
    samples = [patches[Request(number, 24)] for number in range(len(FROZEN))]
    found = [[round(float(part.double().mean()), 4) for part in (s.sharp, s.blurry, s.sigma)] for s in samples]
    assert found == FROZEN


def test_text_patches_are_cut_from_no_image(data):
    """One colour, that of the paper or the ink, is as frequent as in no photograph."""
    text, none = (patches_of(data, text=share) for share in (1.0, 0.0))
    for number in range(4):
        patches = [dataset[Request(number, 24)].sharp for dataset in (text, none)]
        commonest = [patch.flatten(1).unique(dim=1, return_counts=True)[1].max() for patch in patches]
        assert commonest[0] > 24 > commonest[1]
    for seed in range(40):
        page = text_page(np.random.RandomState(seed), 60, 80)
        assert np.array_equal(page, text_page(np.random.RandomState(seed), 60, 80))
        assert (page.shape, page.dtype) == ((60, 80, 3), np.float32)
        assert 0 <= page.min() <= page.max() <= 1
        assert np.ptp(page.mean(2)) > 0.3, "a page without ink: a font without letters"


def test_real_border_sees_the_pixels_beyond_the_patch(data):
    sample = patches_of(data, real_border=1.0, use_flip=False, use_rot=False)[Request(0, 24)]
    images = [read_image(path) for path in sorted((data / "GT").iterdir())]
    whole = [blurred(image, sample.kernel.double().numpy()) for image in images]
    patch = sample.sharp.permute(1, 2, 0).numpy()
    found = [
        np.abs(blurry[top : top + 24, left : left + 24] - (sample.blurry - sample.noise).permute(1, 2, 0).numpy()).max()
        for image, blurry in zip(images, whole, strict=True)
        for top in range(image.shape[0] - 23)
        for left in range(image.shape[1] - 23)
        if np.array_equal(image[top : top + 24, left : left + 24], patch)
    ]
    assert len(found) == 1
    assert found[0] < 1e-5


@pytest.mark.parametrize("camera", [0.0, 0.7])
def test_samples_do_not_depend_on_the_workers_or_the_cache(data, monkeypatch, camera):
    def batches(workers: int, start: int = 0, cache: bool = True) -> list[Sample]:
        patches = patches_of(data, camera={step: camera for step in CAMERA_STEPS})
        if not cache:
            monkeypatch.setattr(patches, "_cache_left", 0)
        requests = Batches(patches.options, start, 6)
        found = list(DataLoader(patches, batch_sampler=requests, num_workers=workers, collate_fn=collate))
        assert workers or len(patches._cache) == 2 * cache
        return found

    alone, shared, late, uncached = batches(0), batches(2), batches(1, start=4), batches(0, cache=False)
    pairs = [*zip(alone, shared, strict=True), *zip(alone[4:], late, strict=True), *zip(alone, uncached, strict=True)]
    for one, other in pairs:
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(alone[0].blurry, alone[1].blurry)


def test_processes_share_the_same_batches(data):
    options = patches_of(data, batch_size=4, progressive=[{"from_iter": 3, "GT_size": 32, "batch_size": 2}]).options
    whole = list(Batches(options, 0, 5))
    shares = [list(Batches(options, 0, 5, rank, 2)) for rank in (0, 1)]
    assert [sorted(request for part in parts for request in part) for parts in zip(*shares, strict=True)] == whole
    assert [len(batch) for batch in whole] == [4, 4, 4, 2, 2]
    assert [request.number for batch in whole for request in batch] == list(range(16))
    assert list(Batches(options, 4, 5)) == whole[4:]
    assert len(Batches(options, 2, 5)) == len(list(Batches(options, 2, 5)))
    with pytest.raises(UserError, match="3 processes"):
        Batches(options, 0, 5, 0, 3)


def test_every_epoch_shows_every_image(data):
    shuffled, plain = patches_of(data), patches_of(data, use_shuffle=False)
    epochs = [tuple(shuffled._image_of(2 * epoch + place) for place in (0, 1)) for epoch in range(20)]
    assert set(epochs) == {(0, 1), (1, 0)}
    assert [plain._image_of(number) for number in range(4)] == [0, 1, 0, 1]


def test_image_smaller_than_the_largest_patch(data):
    with pytest.raises(UserError, match=r"2 of 2 images are smaller than GT_size 65 \(first: a.png, 72x64\)"):
        patches_of(data, GT_size=65)
    with pytest.raises(UserError, match="smaller than GT_size 65"):
        patches_of(data, progressive=[{"from_iter": 2, "GT_size": 65, "batch_size": 2}])


def test_an_image_that_changes_during_training(data, tmp_path):
    folder = shutil.copytree(data / "GT", tmp_path / "GT")
    patches = TrainingPatches(training_recipe.options(data).datasets.train, folder, 0)
    for path in folder.iterdir():
        write_8bit(path, np.zeros((20, 90, 3), np.uint8))
    with pytest.raises(UserError, match="is smaller than GT_size 24; was it changed"):
        patches[Request(0, 24)]
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="no such file"):
        patches[Request(0, 24)]


def test_kernels_of_every_kind(data):
    def only(kind: str) -> dict[str, float]:
        return {name: float(name == kind) for name in KernelFrequencies.model_fields}

    for kind in ("camera_shake", "gaussian", "disk"):
        drawn = [
            draw_kernel(np.random.RandomState(seed), KernelFrequencies(**only(kind)), 5, 75 if seed % 2 else 11)
            for seed in range(60)
        ]
        assert all(kernel.min() >= 0 and kernel.sum() == pytest.approx(1) for kernel in drawn)
        sizes = {kernel.shape[0] for kernel in drawn}
        assert min(sizes) == 5
        assert max(sizes) > 65
        assert all(size % 2 for size in sizes)
    sample = patches_of(data, kernels=only("delta"), noise=[0.0, 0.0])[Request(2, 24)]
    assert float(sample.kernel.max()) == 1
    torch.testing.assert_close(sample.blurry, sample.sharp)


def test_noise_exponent_draws_more_weak_noise(data):
    """u ** 2 with u uniform has its median at 1/4, and the ends stay."""
    patches = patches_of(data, noise=[0.01, 0.05], noise_exponent=2.0)
    sigmas = torch.stack([patches[Request(number, 8)].sigma for number in range(200)])
    assert float(sigmas.median()) == pytest.approx(0.02, abs=0.003)
    assert 0.01 <= float(sigmas.min()) < 0.0102
    assert 0.047 < float(sigmas.max()) <= 0.05


def test_masks_leave_out_clipped_and_dead_pixels(data):
    patches = patches_of(data, masks=1.0, noise=[0.0, 0.0], real_border=0.0)
    dead = clipped = 0
    for number in range(12):
        sample = patches[Request(number, 24)]
        assert sample.mask.shape == (1, 24, 24)
        assert set(sample.mask.unique().tolist()) <= {0.0, 1.0}
        assert 0 <= float(sample.blurry.min()) <= float(sample.blurry.max()) <= 1
        valid = sample.mask.expand(3, -1, -1) > 0
        exact = torch.from_numpy(blurred(sample.sharp.permute(1, 2, 0).numpy(), sample.kernel.double().numpy()))
        exact = exact.permute(2, 0, 1).float()
        torch.testing.assert_close(sample.blurry[valid], exact[valid])
        assert (exact[valid] < 1).all()
        assert not (sample.mask[0] > 0)[(exact > 1).any(0)].any()
        clipped += int((exact > 1).any())
        dead += int((sample.blurry[~valid] == 0).any())
        torch.testing.assert_close(sample.blurry - sample.noise, exact)
    assert clipped > 3
    assert dead > 3
    batch = batch_of(data, count=10, masks=0.5)
    assert {bool(mask.all()) for mask in batch.mask} == {True, False}
    assert batch_of(data).mask is None


def watched(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The keyword arguments that the network gets."""
    seen, forward = {}, trainer.network.forward
    monkeypatch.setattr(trainer.network, "forward", lambda *given, **keys: seen.update(keys) or forward(*given, **keys))
    return seen


def test_masks_and_noise_levels_reach_the_network(data, monkeypatch):
    trainer, batch = trainer_of(data), batch_of(data, masks=1.0)
    seen = watched(trainer, monkeypatch)
    assert np.isfinite(trainer.step(batch)["loss"])
    torch.testing.assert_close(seen["mask"], batch.mask)
    torch.testing.assert_close(seen["x0"], trainer.network.initial(fill_gaps(batch.blurry, batch.mask), batch.kernel))
    seen.clear()
    trainer.step(batch_of(data))
    assert set(seen) == {"stages"}
    trainer, batch = trainer_of(data, network_G=DENOISER), batch_of(data)
    seen = watched(trainer, monkeypatch)
    trainer.step(batch)
    assert torch.equal(seen["sigma"], batch.sigma)


def test_the_noise_level_of_deblur_reaches_the_network(data, monkeypatch):
    tiny = {"network_G": {"preset": "tiny", "nf_p": 3, "nf_d": 3, "nb": 2, "nf_n": 4}}
    batch = batch_of(data, size=48, camera={"jpeg": 1.0})
    pairs = zip(batch.blurry, batch.kernel, strict=True)
    expected = [noise_level(image.permute(1, 2, 0).numpy(), kernel.numpy()) for image, kernel in pairs]
    for level in ("own", "deblur"):
        trainer = trainer_of(data, **tiny, train__noise_level=level)
        seen = watched(trainer, monkeypatch)
        trainer.step(batch)
        assert ("sigma" in seen) == (level == "deblur")
    assert seen["sigma"].tolist() == pytest.approx(expected)
    used = []
    monkeypatch.setattr(
        Restorer, "restore", lambda *given, sigma=None: used.append(sigma) or Restored(given[1], 0.0, None, [])
    )
    options = training_recipe.options(data)
    for estimate in (False, True):
        validation = Validation(options.datasets.val, 1, Processes(), estimate)
        validation.run(trainer.network, torch.device("cpu"))
    triple = validation.sets["n03"][1][0]
    assert used == [None, noise_level(triple.blurry, triple.kernel)]


def test_denoiser_trained_alone_becomes_that_of_the_x_step(data, tmp_path):
    alone = build_network(training_recipe.options(data, network_G=DENOISER).network_G)
    save_weights(alone, tmp_path / "denoiser.safetensors")
    network = build_preset("tiny")
    network.load_denoiser("Models/tiny_denoiser.safetensors")
    with torch.no_grad():
        assert network.solver.denoiser(0.5 + 0.05 * torch.randn(1, 3, 64, 64), torch.tensor([0.05])).std() < 0.01
    network.load_denoiser(str(tmp_path / "denoiser.safetensors"))
    noisy, sigma = torch.rand(1, 3, 16, 16), torch.tensor([0.1])
    with torch.no_grad():
        assert torch.equal(network.solver.denoiser(noisy, sigma), alone(noisy, torch.ones(1, 1, 1), sigma=sigma))
    without = build_network(training_recipe.options(data).network_G)
    with pytest.raises(UserError, match=r"path\.pretrain_denoiser: \w+ has no denoiser"):
        without.load_denoiser(str(tmp_path / "denoiser.safetensors"))
    save_weights(without, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other\.safetensors does not fit this Denoiser"):
        network.load_denoiser(str(tmp_path / "other.safetensors"))


def loss_of(data: Path, stages: list[Tensor], batch: Sample, **overrides) -> tuple[Tensor, dict]:
    recipe = training_recipe.options(data, **{f"train__{k}": v for k, v in overrides.items()}).train
    return training_loss(stages, batch, recipe)


@pytest.mark.parametrize(("criterion", "expected"), [("l1", 0.2), ("l2", 0.04), ("cb", (0.04 + 1e-6) ** 0.5)])
def test_pixel_criteria_and_stage_weights(data, criterion, expected):
    batch = batch_of(data)
    stages = [batch.sharp + 0.2, batch.sharp - 0.2]
    only_pixels = {"pixel_criterion": criterion, "fft_weight": 0.0, "reblur_weight": 0.0}
    loss, terms = loss_of(data, stages, batch, **only_pixels)
    assert float(loss) == pytest.approx(2 * expected, rel=1e-4)
    assert set(terms) == {criterion}
    loss, _ = loss_of(data, stages, batch, **only_pixels, stage_weights=[0.0, 3.0], pixel_weight=0.5)
    assert float(loss) == pytest.approx(1.5 * expected, rel=1e-4)


def test_fourier_and_reblur_terms(data):
    batch = batch_of(data, real_border=0.0, noise=[0.03, 0.03])
    _, terms = loss_of(data, [batch.sharp + 0.1] * 2, batch, fft_weight=0.01, reblur_weight=0.5)
    # A constant has its whole spectrum, 24 * 24 times its value, at one of 24 * 13 frequencies.
    assert float(terms["fft"]) == pytest.approx(2 * 0.01 * 0.1 * 24 * 24 / (24 * 13), rel=1e-4)
    assert float(terms["reblur_l1"]) == pytest.approx(0.1, rel=1e-4)
    _, terms = loss_of(data, [batch.sharp, batch.sharp], batch, reblur_weight=1.0)
    assert float(terms["reblur_l1"]) < 1e-6


def test_in_a_masked_batch_anything_brighter_than_white_counts_as_white(data):
    batch = batch_of(data, masks=1.0)
    bright = batch.sharp >= 1
    assert bright.any()
    assert not bright.all()
    only_pixels = {"pixel_criterion": "l1", "fft_weight": 0.0, "reblur_weight": 0.0, "stage_weights": [0.0, 1.0]}
    for x in (batch.sharp.clamp(max=1.0), batch.sharp + bright, torch.where(bright, 7.0, batch.sharp)):
        assert float(loss_of(data, [x, x], batch, **only_pixels)[0]) == 0.0
    darker = torch.where(bright, 0.5, batch.sharp)
    loss, _ = loss_of(data, [darker, darker], batch, **only_pixels)
    assert float(loss) == pytest.approx(0.5 * float(bright.float().mean()), rel=1e-4)
    off = torch.where(bright, batch.sharp, batch.sharp - 0.25)
    loss, _ = loss_of(data, [off, off], batch, **only_pixels)
    assert float(loss) == pytest.approx(0.25 * float((~bright).float().mean()), rel=1e-4)


def schedule(**keys) -> Recipe:
    return Recipe(**{"manual_seed": 0, "niter": 100, "lr_G": 1e-3, "val_freq": 10, "warmup_iter": 0, **keys})


def rates(recipe: Recipe, scheduler_of=None) -> list[float]:
    optimizer = build_optimizer(torch.nn.Linear(1, 1), recipe)
    scheduler = scheduler_of(optimizer) if scheduler_of else build_scheduler(optimizer, recipe)
    seen = []
    for _ in range(100):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_schedules_are_those_of_torch():
    cosine = schedule(T_period=[100], eta_min=1e-5)
    expected = rates(cosine, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100, eta_min=1e-5))
    np.testing.assert_allclose(rates(cosine), expected, rtol=1e-6)
    steps = schedule(lr_scheme="MultiStepLR", lr_steps=[20, 50], lr_gamma=0.3)
    expected = rates(steps, lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [20, 50], gamma=0.3))
    np.testing.assert_allclose(rates(steps), expected, rtol=1e-6)


def test_restarts_and_warmup():
    cosine = schedule(restarts=[40], restart_weights=[0.5], warmup_iter=10)
    assert cosine.T_period == [40, 60]
    assert [rate_factor(i, cosine) for i in (0, 40, 100)] == pytest.approx([0.1, 0.5, 0.0])
    assert rate_factor(4, cosine) == pytest.approx(0.5 * (1 + np.cos(np.pi * 4 / 40)) / 2)
    steps = schedule(lr_scheme="MultiStepLR", lr_steps=[10, 60], lr_gamma=0.1, restarts=[50], restart_weights=[0.8])
    assert [rate_factor(i, steps) for i in (9, 10, 50, 60)] == pytest.approx([1, 0.1, 0.8, 0.08])


def test_period_and_warmup_follow_niter():
    derived = schedule(niter=3000, warmup_iter=None)
    assert (derived.T_period, derived.warmup_iter) == ([3000], 100)
    given = schedule(niter=60, T_period=[50], warmup_iter=7)
    assert (given.T_period, given.warmup_iter) == ([50], 7)


def test_changed_lr_scale_keeps_the_moments_of_each_weight():
    """Parameter groups follow lr_scale, so a position in the optimiser's state can belong to another weight."""
    network = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1, bias=False) for name in "abc"})
    before = build_optimizer(network, schedule(lr_scale={"a.*": 0.5}))
    for gradient, parameter in enumerate(network.parameters(), start=1):
        parameter.grad = torch.full_like(parameter, gradient)
    before.step()
    after = build_optimizer(network, schedule(lr_scale={"b.*": 0.5, "c.*": 0.1}))
    after.load_state_dict(state_by_weight_names(before.state_dict(), after))
    moments = [after.state[parameter]["exp_avg"].item() for parameter in network.parameters()]
    assert moments == pytest.approx([0.1, 0.2, 0.3])


def test_lr_scale():
    """The first pattern that matches counts; the schedule and a resumed state keep the factors."""
    network = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    recipe = schedule(lr_scale={"a.weight": 0.5, "a.*": 0.0, "*.nothing": 2.0})
    with pytest.raises(UserError, match=r"lr_scale: '\*\.nothing' matches no weight; their names are like 'a.weight'"):
        build_optimizer(network, recipe)
    recipe = schedule(lr_scale={"a.weight": 0.5, "a.*": 0.0})
    optimizer = build_optimizer(network, recipe)
    scheduler = build_scheduler(optimizer, recipe)

    def rate_of(parameter: Tensor) -> float:
        return next(group["lr"] for group in optimizer.param_groups if any(parameter is p for p in group["params"]))

    expected = {"a.weight": 0.5e-3, "a.bias": 0.0, "b.weight": 1e-3, "b.bias": 1e-3}
    assert {name: rate_of(p) for name, p in network.named_parameters()} == pytest.approx(expected)
    for _ in range(50):
        optimizer.step()
        scheduler.step()
    halved = {name: rate / 2 for name, rate in expected.items()}
    assert {name: rate_of(p) for name, p in network.named_parameters()} == pytest.approx(halved)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"train__T_period": [4, 5]}, "T_period one more"),
        ({"train__restarts": [3]}, "the same number of entries"),
        ({"train__restarts": [9], "train__restart_weights": [1.0]}, r"below niter \(9\)"),
        ({"datasets__train__kernel_size": 10}, "odd"),
        ({"datasets__train__noise": [0.05, 0.01]}, "the smaller"),
        ({"train__lr": 1e-3}, "did you mean 'lr_G'"),
        ({"train__start_values": "open_unets", "path__pretrain_model_G": "a.pth"}, "remove one of the keys"),
        ({"name": ".."}, "name"),
        ({"datasets__val": {"../n03": None}}, "pattern"),
        ({"baselines": {"../..": {"network_G": {"which_model_G": "Initial"}}}}, "pattern"),
        ({"train__niter": 10**30}, "niter: should be 0 or of a size between 1e-12"),
        ({"train__manual_seed": 2**64}, "manual_seed: should be 0 or of a size"),
        ({"train__lr_G": 1e-320}, "lr_G: should be 0 or of a size"),
        ({"train__fft_weight": 1e300}, "fft_weight: should be 0 or of a size"),
        ({"train__grad_clip": 1e-320}, "grad_clip: should be 0 or of a size"),
        ({"train__lr_scale": {"*": 1e300}}, r"lr_scale\.\*: should be 0 or of a size"),
        ({"train__stage_weights": [1.0, 1e300]}, "stage_weights.1: should be 0 or of a size"),
        ({"datasets__train__noise_exponent": 1e-320}, "noise_exponent: should be 0 or of a size"),
        (
            {"datasets__train__kernels": {"camera_shake": 1e308, "disk": 1e308}},
            "camera_shake: should be 0 or of a size",
        ),
        ({"datasets__train__n_workers": 3000}, "n_workers 3000: at most 256, each is a process"),
        ({"datasets__train__kernel_size": 99999}, "kernel_size 99999: at most 501"),
        ({"datasets__train__GT_size": 1}, "GT_size: at least 8 pixels"),
        ({"train__pixel_weight": 0.0, "train__fft_weight": 0.0}, "there is no loss"),
        ({"network_G": DENOISER | {"in_nc": 1}}, "in_nc: 1, but the training images have 3 channels"),
        ({"baselines": {"network": {"network_G": {"which_model_G": "Initial"}}}}, "rename it"),
        ({"baselines": {"start": {"network_G": {"which_model_G": "Initial"}}}}, "rename it"),
        ({"train__stage_weights": [1.0]}, "2 numbers are needed"),
        ({"train__stage_weights": [1.0, 0.0]}, "the last one not 0"),
        ({"network_G": {"which_model_G": "Blurry"}}, "nothing to train"),
        ({"network_G": DENOISER, "train__checkpoint_stages": True}, "Denoiser cannot compute its stages again"),
    ],
)
def test_contradicting_options(data, override, message):
    with pytest.raises((ValueError, UserError), match=message):
        trainer_of(data, **override)


@pytest.mark.parametrize("decay", [0.25, 0.0])
def test_average_is_the_exponential_one(decay):
    """With a decay of 0 it is a copy of the weights. Buffers are copied: running statistics are averages already."""
    network = torch.nn.BatchNorm2d(1)
    average = moving_average(network, decay, lambda: steps)
    expected = 3.0  # the first step's weights replace the random start
    for steps, weight in enumerate((3.0, -2.0, 5.0)):
        torch.nn.init.constant_(network.weight, weight)
        network(5 + torch.randn(8, 1, 4, 4))
        average.update_parameters(network)
        early = min(decay, (1 + steps) / (10 + steps))
        expected = early * expected + (1 - early) * weight
        assert average.module.weight.item() == pytest.approx(expected)
        torch.testing.assert_close(dict(average.module.named_buffers()), dict(network.named_buffers()))
    assert average.module.weight is not network.weight
    assert average.module.running_mean is not network.running_mean
    assert not average.module.training


def test_overfitting_one_patch(data):
    """A network that can learn at all reduces the loss on one patch to a tenth."""
    pixels = {"train__fft_weight": 0.0, "train__reblur_weight": 0.0, "train__lr_G": 3e-3, "train__niter": 400}
    trainer = trainer_of(data, network_G={"preset": "tiny", "nf_p": 8, "nf_d": 8, "nb": 2, "nf_n": 4}, **pixels)
    batch = batch_of(data, count=1, noise=[0.05, 0.05])
    losses = [trainer.step(batch)["loss"] for _ in range(32)]
    assert min(losses) < losses[0] / 10


def test_step_that_is_not_finite_is_skipped(data):
    trainer, batch = trainer_of(data), batch_of(data)
    bad = batch._replace(blurry=batch.blurry * float("nan"))
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    trainer.step(bad)
    assert trainer.skipped == 1
    assert all(map(torch.equal, before, trainer.network.parameters()))
    trainer.check_finite()
    trainer.step(batch)
    assert trainer.skipped_in_a_row == 0
    for _ in range(MOST_SKIPPED_IN_A_ROW):
        trainer.check_finite()
        trainer.step(bad)
    with pytest.raises(UserError, match=f"not finite for {MOST_SKIPPED_IN_A_ROW} steps in a row"):
        trainer.check_finite()


def test_weights_that_are_not_finite_are_not_saved(data, tmp_path):
    trainer = trainer_of(data)
    trainer.check_weights()
    first = next(trainer.network.parameters()).data
    first[0] = 1e6
    with pytest.raises(UserError, match=r"is not finite as torch.float16"):
        save_weights(trainer.network, tmp_path / "w16.safetensors", torch.float16)
    first[0] = float("inf")
    with pytest.raises(UserError, match=r"w.safetensors: not written, .* is not finite"):
        save_weights(trainer.network, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())
    with_buffer = trainer_of(data)
    with_buffer.network.register_buffer("running_mean", torch.tensor([float("nan")]))
    for broken in (trainer, with_buffer):
        with pytest.raises(UserError, match="no longer finite at iteration 0"):
            broken.check_weights()


def some_state(iteration: int) -> dict:
    return dict.fromkeys(checkpoint.KEYS, 0) | {"iteration": iteration, "network": torch.ones(300)}


def test_checkpoints_are_kept_and_read(tmp_path):
    assert checkpoint.load_last(tmp_path) is None
    (tmp_path / ".00000002-abcd.state").write_bytes(b"a process was killed while it wrote this")
    assert checkpoint.load_last(tmp_path) is None
    for iteration in (2, 4, 6):
        checkpoint.save(tmp_path, iteration, some_state(iteration))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["00000004.state", "00000006.state"]
    assert checkpoint.load_last(tmp_path)["iteration"] == 6
    # After a return to an earlier one, the later ones belong to another run.
    checkpoint.save(tmp_path, 5, some_state(5))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["00000004.state", "00000005.state"]


def test_damaged_checkpoint(tmp_path, capsys):
    for iteration in (2, 4):
        path = checkpoint.save(tmp_path, iteration, some_state(iteration))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(torch.ones(300).numpy().tobytes()) + 600] ^= 1
    for damaged in (whole[:400], bytes(flipped), b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            checkpoint.load(path)
    assert checkpoint.load_last(tmp_path)["iteration"] == 2
    assert "00000004.state" in capsys.readouterr().err
    torch.save(some_state(2) | {"hours": 1}, tmp_path / "00000002.state")
    assert checkpoint.load_last(tmp_path)["hours"] == 1
    without_hours = some_state(2)
    del without_hours["hours"]
    for damaged in (without_hours, some_state(2) | {"hours": "text"}, some_state(2) | {"iteration": None}):
        torch.save(damaged, tmp_path / "00000002.state")
        with pytest.raises(UserError, match="no readable checkpoint"):
            checkpoint.load_last(tmp_path)


def test_full_disk_leaves_the_checkpoint_before(tmp_path):
    checkpoint.save(tmp_path, 2, some_state(2))
    with full_disk(20_000), pytest.raises(UserError, match="could not be written"):
        checkpoint.save(tmp_path, 4, {"weights": torch.ones(100_000)})
    assert [path.name for path in tmp_path.iterdir()] == ["00000002.state"]
    assert checkpoint.load_last(tmp_path)["iteration"] == 2


def test_changed_options_and_images(data):
    state = {"options": checkpoint.dump_options(training_recipe.options(data)), "images": "2 images"}

    def check(images: str = "2 images", **changes) -> None:
        checkpoint.check_unchanged(state, training_recipe.options(data, **changes), images)

    check(logger__print_freq=7, datasets__train__n_workers=0)
    for changes, message in (
        ({"train__lr_G": 2e-3}, r"train\.lr_G was 0.001, is 0.002"),
        ({"train__lr_scale": {"F.*": 0.1}}, r"train\.lr_scale\.F\.\* was not set, is 0.1"),
        ({"path": {"pretrain_model_G": "Models/b.pth"}}, r"pretrain_model_G was not set, is Models/b.pth"),
        ({"images": "1 images"}, "held 2 images, holds 1 images"),
    ):
        with pytest.raises(UserError, match=message):
            check(**changes)
    # A key that a later version of the program added counts as not set then.
    older = "".join(line for line in state["options"].splitlines(keepends=True) if line.strip() != "text: 0.0")
    assert older != state["options"]
    state["options"] = older
    check()
    for damaged in ([1], "text", None):
        with pytest.raises(UserError, match="holds no options; is it damaged"):
            checkpoint.check_unchanged(state | {"options": damaged}, training_recipe.options(data), "2 images")
    with pytest.raises(UserError, match=r"datasets\.train\.text was 0.0, is 0.5"):
        check(datasets__train__text=0.5)


def test_checkpoint_of_another_network(data):
    with pytest.raises(UserError, match="does not fit"):
        trainer_of(data, network_G__nf_p=8).load_state(trainer_of(data).state())
    for damaged in ({"network": [1]}, {"average": None}, {"optimizer": {}}, {"scheduler": 3}):
        trainer = trainer_of(data)
        with pytest.raises(UserError, match="does not fit"):
            trainer.load_state(trainer.state() | damaged)


def test_line_on_the_progress(tmp_path, capsys, monkeypatch):
    """The means since the last line, and the time left."""
    clock = iter([0.0, 0.0, 40.0, 40.0, 80.0, 80.0])
    monkeypatch.setattr("codes.training.monitor.time.monotonic", lambda: next(clock))
    monitor = Monitor(tmp_path, None, None, 100, 0.0, "")
    for iteration, waited, skipped in ((4, 0.1, 0), (8, 5.0, 3)):
        for loss in (1.0, 2.0, 1.0, 2.0):
            monitor.step({"loss": loss}, 2, waited)
        monitor.report(iteration, 0.1, skipped)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[-6:] == [
        "loss 1.5", "lr 0.1", "skipped 0", "images_per_second 0.2", "data_wait_share 0.01", "0:16:00 left"
    ]  # fmt: skip
    assert lines[1].endswith("skipped 3  images_per_second 0.2  data_wait_share 0.5  0:15:20 left")
    logged = (tmp_path / "train.log").read_text().splitlines()
    assert [line[21:] for line in logged] == lines
