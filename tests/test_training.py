"""The parts of training: data, losses, schedule, average, checkpoints, step."""

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from codes.data.degradation import blurred
from codes.data.images import read_image
from codes.data.text_pages import text_page
from codes.data.training import Sample, Ticket, Tickets, TrainingPatches, collate, draw_kernel, zero_padded
from codes.models.paper import shrinkage
from codes.models.paper.blur import Blur
from codes.models.factory import build_network, build_preset, load_denoiser
from codes.models.weights import save_weights
from codes.models.gaps import filled
from codes.training import checkpoint
from codes.training.ema import Average
from codes.training.losses import Loss
from codes.training.monitor import Monitor
from codes.training.options import KernelShares, Recipe
from codes.training.schedule import build_optimizer, build_scheduler, factor
from codes.training.trainer import Trainer
from codes.utils.errors import UserError
from codes.utils.processes import Processes
from tests import training_recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_recipe.sharp_images(tmp_path_factory.mktemp("data") / "two")


def patches_of(data: Path, **overrides) -> TrainingPatches:
    options = training_recipe.options(data, **{f"datasets__train__{key}": value for key, value in overrides.items()})
    return TrainingPatches(options.datasets.train, data / "GT", seed=3)


def trainer_of(data: Path, **overrides) -> Trainer:
    options = training_recipe.options(data, **overrides)
    torch.manual_seed(0)
    return Trainer(build_network(options.network_G), options.train, torch.device("cpu"), Processes())


def batch_of(data: Path, size: int = 24, count: int = 2, **overrides) -> Sample:
    patches = patches_of(data, **overrides)
    return collate([patches[Ticket(number, size)] for number in range(count)])


# --- data ---------------------------------------------------------------------------------


def test_sample_is_the_blurred_patch_plus_noise(data: Path) -> None:
    patches = patches_of(data, real_border=0.0, noise=[0.05, 0.05])
    sample = patches[Ticket(5, 24)]
    assert sample.sharp.shape == sample.blurry.shape == (3, 24, 24)
    assert sample.kernel.shape == (9, 9)
    assert float(sample.kernel.sum()) == pytest.approx(1, abs=1e-6)
    expected = blurred(sample.sharp.permute(1, 2, 0).numpy(), sample.kernel.double().numpy())
    np.testing.assert_allclose((sample.blurry - sample.noise).permute(1, 2, 0), expected, atol=1e-5)
    assert float(sample.noise.std()) == pytest.approx(0.05, rel=0.1)
    assert float(sample.sigma) == pytest.approx(0.05)


def test_grey_patches_have_the_same_noise_in_all_channels(data: Path) -> None:
    grey, colour = (patches_of(data, grey=share)[Ticket(1, 24)] for share in (1.0, 0.0))
    for part in (grey.sharp, grey.blurry, grey.noise):
        torch.testing.assert_close(part, part[:1].expand_as(part))
    assert not torch.allclose(colour.noise, colour.noise[:1].expand_as(colour.noise))
    half = patches_of(data, grey=0.5)
    kinds = {torch.equal(sample.sharp[0], sample.sharp[1]) for sample in (half[Ticket(n, 24)] for n in range(12))}
    assert kinds == {True, False}


def test_text_patches_are_of_no_image(data: Path) -> None:
    """One colour, the paper's or the ink's, recurs, as it does in no photograph."""
    text, none = (patches_of(data, text=share) for share in (1.0, 0.0))
    for number in range(4):
        patch = text[Ticket(number, 24)].sharp
        photograph = none[Ticket(number, 24)].sharp
        commonest = [part.flatten(1).unique(dim=1, return_counts=True)[1].max() for part in (patch, photograph)]
        assert commonest[0] > 24 > commonest[1]
        assert torch.equal(text[Ticket(number, 24)].sharp, patch)
    drawn = [text_page(np.random.RandomState(seed), 60, 80) for seed in range(40)]
    for page in drawn:
        assert (page.shape, page.dtype) == ((60, 80, 3), np.float32)
        assert 0 <= page.min() <= page.max() <= 1
        # Every page has its ink on it: fonts without letters would leave plain paper.
        assert np.ptp(page.mean(2)) > 0.3
    assert np.array_equal(drawn[7], text_page(np.random.RandomState(7), 60, 80))


def test_real_border_sees_the_pixels_beyond_the_patch(data: Path) -> None:
    sample = patches_of(data, real_border=1.0, use_flip=False, use_rot=False)[Ticket(0, 24)]
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


def test_image_and_kernel_are_turned_alike(data: Path) -> None:
    patches = patches_of(data)
    image, kernel = np.random.rand(12, 10, 3), np.random.rand(5, 5)
    x, k = patches._turned(np.random.RandomState(2), image, kernel)
    assert not np.array_equal(k, kernel)
    inner = (slice(3, -3), slice(3, -3))
    again = patches._turned(np.random.RandomState(2), blurred(image, kernel), kernel)[0]
    np.testing.assert_allclose(blurred(x, k.copy())[inner], again[inner], atol=1e-12)


def test_samples_do_not_depend_on_the_workers(data: Path) -> None:
    def batches(workers: int, start: int = 0) -> list[Sample]:
        patches = patches_of(data)
        tickets = Tickets.of(patches.options, start, 6, 0, 1)
        return list(DataLoader(patches, batch_sampler=tickets, num_workers=workers, collate_fn=collate))

    alone, shared, late = batches(0), batches(2), batches(1, start=4)
    for one, other in [*zip(alone, shared, strict=True), *zip(alone[4:], late, strict=True)]:
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(alone[0].blurry, alone[1].blurry)


def test_processes_share_the_same_batches() -> None:
    phases = [(0, 24, 4), (3, 32, 2)]
    whole = list(Tickets(phases, 0, 5))
    shares = [list(Tickets(phases, 0, 5, rank, 2)) for rank in (0, 1)]
    assert [sorted(ticket for part in parts for ticket in part) for parts in zip(*shares, strict=True)] == whole
    assert [len(batch) for batch in whole] == [4, 4, 4, 2, 2]
    assert [ticket.number for batch in whole for ticket in batch] == list(range(16))
    assert list(Tickets(phases, 4, 5)) == whole[4:]
    assert len(Tickets(phases, 2, 5)) == len(list(Tickets(phases, 2, 5)))


def test_batch_that_cannot_be_shared_out(data: Path) -> None:
    with pytest.raises(UserError, match="3 processes"):
        Tickets.of(patches_of(data).options, 0, 5, 0, 3)


def test_every_epoch_shows_every_image(data: Path) -> None:
    shuffled, plain = patches_of(data), patches_of(data, use_shuffle=False)
    epochs = [tuple(shuffled._image_of(2 * epoch + place) for place in (0, 1)) for epoch in range(20)]
    assert set(epochs) == {(0, 1), (1, 0)}
    assert [plain._image_of(number) for number in range(4)] == [0, 1, 0, 1]


def test_image_smaller_than_the_patch(data: Path) -> None:
    """Said at the start, for the largest patch of all phases."""
    with pytest.raises(UserError, match=r"2 of 2 images are smaller than GT_size 65: a.png \(72x64\), b.png"):
        patches_of(data, GT_size=65)
    with pytest.raises(UserError, match="smaller than GT_size 65"):
        patches_of(data, progressive=[{"from_iter": 2, "GT_size": 65, "batch_size": 2}])


@pytest.mark.parametrize("kind", ["camera_shake", "gaussian", "disk"])
def test_kernels_of_every_kind(kind: str) -> None:
    shares = KernelShares(**{name: float(name == kind) for name in KernelShares.model_fields})
    sizes = set()
    for seed in range(60):
        kernel = draw_kernel(np.random.RandomState(seed), shares, 5, 75 if seed % 2 else 11)
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1)
        sizes.add(kernel.shape[0])
    assert min(sizes) == 5
    assert max(sizes) > 65
    assert all(size % 2 for size in sizes)


def test_delta_kernels_leave_the_patch_as_it_is(data: Path) -> None:
    only = {name: float(name == "delta") for name in KernelShares.model_fields}
    sample = patches_of(data, kernels=only, noise=[0.0, 0.0])[Ticket(2, 24)]
    assert float(sample.kernel.max()) == 1
    torch.testing.assert_close(sample.blurry, sample.sharp)


def test_noise_exponent_draws_more_of_the_little_noise(data: Path) -> None:
    """u ** 2 with u uniform has its median at 1/4, and the ends stay."""
    patches = patches_of(data, noise=[0.01, 0.05], noise_exponent=2.0)
    sigmas = torch.stack([patches[Ticket(number, 8)].sigma for number in range(200)])
    assert float(sigmas.median()) == pytest.approx(0.02, abs=0.003)
    assert 0.01 <= float(sigmas.min()) < 0.0102
    assert 0.047 < float(sigmas.max()) <= 0.05


def test_masks_leave_out_clipped_and_dead_pixels(data: Path) -> None:
    patches = patches_of(data, masks=1.0, noise=[0.0, 0.0], real_border=0.0)
    dead = clipped = 0
    for number in range(12):
        sample = patches[Ticket(number, 24)]
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


def test_a_share_of_masks(data: Path) -> None:
    batch = batch_of(data, count=10, masks=0.5)
    assert batch.mask.shape == (10, 1, 24, 24)
    assert {bool(mask.all()) for mask in batch.mask} == {True, False}
    assert batch_of(data).mask is None


def test_masks_reach_the_network(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(data)
    batch = batch_of(data, masks=1.0)
    seen = {}
    forward = trainer.network.forward

    def watched(*arguments, **keys):
        seen.update(keys)
        return forward(*arguments, **keys)

    monkeypatch.setattr(trainer.network, "forward", watched)
    assert np.isfinite(trainer.step(batch)["loss"])
    torch.testing.assert_close(seen["mask"], batch.mask)
    torch.testing.assert_close(seen["x0"], trainer.network.initial(filled(batch.blurry, batch.mask), batch.kernel))
    seen.clear()
    trainer.step(batch_of(data))
    assert set(seen) == {"stages"}


def test_kept_images_give_the_same_samples(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, read = patches_of(data, grey=0.5), patches_of(data, grey=0.5)
    monkeypatch.setattr(read, "_room", 0)
    for number in (0, 1, 2, 3, 2):
        for one, other in zip(kept[Ticket(number, 24)], read[Ticket(number, 24)], strict=True):
            assert one is other or torch.equal(one, other)
    assert len(kept._kept) == 2
    assert not read._kept


def test_denoiser_is_told_the_noise_level(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_of(data, network_G={"which_model_G": "Denoiser"})
    told = []
    monkeypatch.setattr(
        trainer, "_forward", lambda *given, sigma, **more: told.append(sigma) or trainer.network(*given, **more)
    )
    batch = batch_of(data)
    trainer.step(batch)
    assert torch.equal(told[0], batch.sigma)


def test_denoiser_trained_alone_becomes_the_x_steps(data: Path, tmp_path: Path) -> None:
    alone = build_network(training_recipe.options(data, network_G={"which_model_G": "Denoiser"}).network_G)
    save_weights(alone, tmp_path / "denoiser.safetensors")
    network = build_preset("tiny", nf_p=4, nf_d=4, nb=2, nf_n=4)
    load_denoiser(network, str(tmp_path / "denoiser.safetensors"))
    noisy, sigma = torch.rand(1, 3, 16, 16), torch.tensor([0.1])
    with torch.no_grad():
        assert torch.equal(network.solver.denoiser(noisy, sigma), alone(noisy, torch.ones(1, 1, 1), sigma=sigma))
    without = build_network(training_recipe.options(data).network_G)
    with pytest.raises(UserError, match=r"path\.pretrain_denoiser: there is no denoiser in the x-step of this DSDNet"):
        load_denoiser(without, str(tmp_path / "denoiser.safetensors"))
    save_weights(without, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other\.safetensors does not fit this Denoiser"):
        load_denoiser(network, str(tmp_path / "other.safetensors"))


def test_the_denoiser_that_comes_with_the_repository_fits_tiny() -> None:
    network = build_preset("tiny")
    load_denoiser(network, "Models/tiny_denoiser.safetensors")
    noisy = 0.5 + 0.05 * torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert network.solver.denoiser(noisy, torch.tensor([0.05])).std() < 0.01


def test_zero_padding_keeps_the_blur() -> None:
    x, kernel = torch.rand(1, 3, 20, 20), torch.rand(5, 5)
    torch.testing.assert_close(Blur(kernel[None], (20, 20))(x), Blur(zero_padded(kernel, 11)[None], (20, 20))(x))


# --- loss and schedule ----------------------------------------------------------------------


def loss_of(data: Path, stages: list[torch.Tensor], batch: Sample, **overrides) -> tuple[torch.Tensor, dict]:
    return Loss(training_recipe.options(data, **{f"train__{k}": v for k, v in overrides.items()}).train)(stages, batch)


@pytest.mark.parametrize(("criterion", "expected"), [("l1", 0.2), ("l2", 0.04), ("cb", (0.04 + 1e-6) ** 0.5)])
def test_pixel_criteria_and_stage_weights(data: Path, criterion: str, expected: float) -> None:
    batch = batch_of(data)
    stages = [batch.sharp + 0.2, batch.sharp - 0.2]
    only_pixels = {"pixel_criterion": criterion, "fft_weight": 0.0, "reblur_weight": 0.0}
    loss, terms = loss_of(data, stages, batch, **only_pixels)
    assert float(loss) == pytest.approx(2 * expected, rel=1e-4)
    assert set(terms) == {criterion}
    loss, _ = loss_of(data, stages, batch, **only_pixels, stage_weights=[0.0, 3.0], pixel_weight=0.5)
    assert float(loss) == pytest.approx(1.5 * expected, rel=1e-4)


def test_fourier_term(data: Path) -> None:
    batch = batch_of(data)
    _, terms = loss_of(data, [batch.sharp + 0.1] * 2, batch, fft_weight=0.01, reblur_weight=0.0)
    # A constant has its whole spectrum, 24 * 24 times its value, at one of 24 * 13 frequencies.
    assert float(terms["fft"]) == pytest.approx(2 * 0.01 * 0.1 * 24 * 24 / (24 * 13), rel=1e-4)


def test_of_a_masked_batch_whatever_is_brighter_than_white_counts_as_white(data: Path) -> None:
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


def test_reblur_term_vanishes_for_the_sharp_image(data: Path) -> None:
    batch = batch_of(data, real_border=0.0, noise=[0.03, 0.03])
    _, terms = loss_of(data, [batch.sharp, batch.sharp], batch, reblur_weight=1.0)
    assert float(terms["reblur_l1"]) < 1e-6
    _, terms = loss_of(data, [batch.sharp + 0.1] * 2, batch, reblur_weight=1.0)
    assert float(terms["reblur_l1"]) == pytest.approx(0.2, rel=1e-4)


def schedule(**keys) -> Recipe:
    return Recipe(manual_seed=0, niter=100, lr_G=1e-3, val_freq=10, **keys)


def rates(recipe: Recipe, scheduler_of=None) -> list[float]:
    optimizer = build_optimizer(torch.nn.Linear(1, 1), recipe)
    scheduler = scheduler_of(optimizer) if scheduler_of else build_scheduler(optimizer, recipe)
    seen = []
    for _ in range(100):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_schedules_are_those_of_torch() -> None:
    cosine = schedule(lr_scheme="CosineAnnealingLR_Restart", T_period=[100], eta_min=1e-5)
    expected = rates(cosine, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100, eta_min=1e-5))
    np.testing.assert_allclose(rates(cosine), expected, rtol=1e-6)
    steps = schedule(lr_scheme="MultiStepLR", lr_steps=[20, 50], lr_gamma=0.3)
    expected = rates(steps, lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [20, 50], gamma=0.3))
    np.testing.assert_allclose(rates(steps), expected, rtol=1e-6)


def test_restarts_and_warmup() -> None:
    cosine = schedule(
        lr_scheme="CosineAnnealingLR_Restart", T_period=[40, 60], restarts=[40], restart_weights=[0.5], warmup_iter=10
    )
    assert [factor(i, cosine) for i in (0, 40, 100)] == pytest.approx([0.1, 0.5, 0.0])
    assert factor(4, cosine) == pytest.approx(0.5 * (1 + np.cos(np.pi * 4 / 40)) / 2)
    steps = schedule(lr_scheme="MultiStepLR", lr_steps=[10, 60], lr_gamma=0.1, restarts=[50], restart_weights=[0.8])
    assert [factor(i, steps) for i in (9, 10, 50, 60)] == pytest.approx([1, 0.1, 0.8, 0.08])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"train__stage_weights": [1.0]}, "2 numbers are needed"),
        ({"train__T_period": []}, "T_period needs one entry more"),
        ({"train__restarts": [3]}, "the same number of entries"),
        ({"datasets__train__kernel_size": 10}, "odd"),
        ({"datasets__train__noise": [0.05, 0.01]}, "the smaller"),
        ({"network_G": {"which_model_G": "Blurry"}}, "nothing to train"),
        ({"train__lr": 1e-3}, "Extra inputs"),
    ],
)
def test_contradicting_options(data: Path, override: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training_recipe.options(data, **override)


# --- step, average, checkpoints ------------------------------------------------------------------


def test_average_is_the_exponential_one() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 1.0)
    average = Average(network, decay=0.25)
    expected = 1.0
    for iteration, weight in enumerate((3.0, -2.0, 5.0), 1):
        torch.nn.init.constant_(network.weight, weight)
        average.update(iteration)
        decay = min(0.25, (1 + iteration) / (10 + iteration))
        expected = decay * expected + (1 - decay) * weight
        assert average.network.weight.item() == pytest.approx(expected)


def test_average_follows_the_weights() -> None:
    network = torch.nn.Linear(2, 2)
    average = Average(network, decay=0.9)
    with torch.no_grad():
        network.weight += 1
    for iteration in range(1, 400):
        average.update(iteration)
    torch.testing.assert_close(average.network.weight, network.weight)
    assert Average(network, 0.9).network.weight is not network.weight


def test_without_decay_the_average_is_a_copy_of_the_weights() -> None:
    network = torch.nn.Linear(2, 2)
    average = Average(network, decay=0.0)
    with torch.no_grad():
        network.weight += 1
    average.update(1)
    kept = average.network
    torch.testing.assert_close(kept.weight, network.weight, rtol=0, atol=0)
    assert kept.weight is not network.weight
    assert not kept.training


def test_maxout_equals_grouped_convolutions() -> None:
    maxout, a, g = shrinkage.Maxout(5, 3), torch.randn(2, 5, 9, 8, requires_grad=True), torch.randn(2, 5, 9, 8)

    def grouped(a: torch.Tensor) -> torch.Tensor:
        first, second = (conv(a).unflatten(1, (-1, 3)).amax(2) for conv in (maxout.conv1, maxout.conv2))
        return first - second

    def run(function: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        maxout.zero_grad()
        a.grad = None
        result = function(a)
        (result * g).sum().backward()
        return [result.detach(), a.grad, *(p.grad.clone() for p in maxout.parameters())]

    for one, other in zip(run(maxout), run(grouped), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(maxout(a), grouped(a))


def test_overfitting_one_patch(data: Path) -> None:
    """A network that can learn at all drives the loss on one patch down by a factor of 10."""
    trainer = trainer_of(
        data,
        network_G={
            "which_model_G": "DSDNet",
            "nf_p": 8,
            "nf_d": 8,
            "nb": 2,
            "nf_n": 4,
            "init": "paper",
            "solver": "cgnet_fft",
        },
        train__lr_G=3e-3,
        train__T_period=[400],
        train__fft_weight=0.0,
        train__reblur_weight=0.0,
    )
    batch = batch_of(data, count=1, noise=[0.05, 0.05])
    losses = [trainer.step(batch)["loss"] for _ in range(300)]
    assert min(losses) < losses[0] / 10


def test_step_that_is_not_finite_is_skipped(data: Path, tmp_path: Path) -> None:
    trainer, batch = trainer_of(data, train__max_nonfinite=2), batch_of(data)
    bad = batch._replace(blurry=batch.blurry * float("nan"))
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    trainer.step(bad)
    assert trainer.skipped == 1
    assert all(map(torch.equal, before, trainer.network.parameters()))
    trainer.check_finite(bad, tmp_path / "no")
    trainer.step(batch)
    assert trainer.skipped_in_a_row == 0
    trainer.step(bad)
    trainer.step(bad)
    with pytest.raises(UserError, match="not finite for 2 steps in a row"):
        trainer.check_finite(batch, tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "0_blurry.png",
        "0_kernel.png",
        "0_sharp.png",
        "1_blurry.png",
        "1_kernel.png",
        "1_sharp.png",
        "noise.csv",
    ]


def test_weights_that_are_not_finite(data: Path, tmp_path: Path) -> None:
    """Neither a checkpoint nor a weight file is made of them."""
    trainer = trainer_of(data)
    trainer.check_weights()
    next(trainer.network.parameters()).data[0] = float("inf")
    with pytest.raises(UserError, match="not finite any more at iteration 0"):
        trainer.check_weights()
    with pytest.raises(UserError, match=r"w.safetensors: not written, .* is not finite"):
        save_weights(trainer.network, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_half_precision(data: Path, tmp_path: Path) -> None:
    network = trainer_of(data).network
    next(network.parameters()).data[0] = 1e6
    save_weights(network, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"is not finite as torch.float16"):
        save_weights(network, tmp_path / "w16.safetensors", torch.float16)


def test_skipped_steps_are_counted_not_averaged(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    monitor = Monitor(tmp_path, None, 0, 0.0, "")
    for _ in range(4):
        monitor.step({"loss": 1.0}, 1, 0.0)
    monitor.report(4, 8, 0.1, skipped=3)
    assert "skipped 3 " in capsys.readouterr().out


def some_state(iteration: int) -> dict:
    return dict.fromkeys(checkpoint.KEYS, 0) | {"iteration": iteration, "network": torch.ones(300)}


def test_checkpoints_are_kept_and_read(tmp_path: Path) -> None:
    assert checkpoint.load_last(tmp_path) is None
    (tmp_path / ".00000002-abcd.state").write_bytes(b"a process was killed while it wrote this")
    assert checkpoint.load_last(tmp_path) is None
    for iteration in (2, 4, 6):
        checkpoint.save(tmp_path, iteration, some_state(iteration))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["00000004.state", "00000006.state"]
    assert checkpoint.load_last(tmp_path)["iteration"] == 6
    # Having gone back to an earlier one, the later ones belong to another course.
    checkpoint.save(tmp_path, 5, some_state(5))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["00000004.state", "00000005.state"]


def test_damaged_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
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
    torch.save({"iteration": 2}, tmp_path / "00000002.state")
    with pytest.raises(UserError, match="no readable checkpoint"):
        checkpoint.load_last(tmp_path)


def test_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 2, some_state(2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(UserError, match="could not be written"):
            checkpoint.save(tmp_path, 4, {"weights": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["00000002.state"]
    assert checkpoint.load_last(tmp_path)["iteration"] == 2


def test_changed_option_file(data: Path) -> None:
    saved = checkpoint.dump_options(training_recipe.options(data))
    checkpoint.check_options(training_recipe.options(data, logger__print_freq=7, datasets__train__n_workers=0), saved)
    with pytest.raises(UserError, match=r"train\.lr_G was 0.001, is 0.002"):
        checkpoint.check_options(training_recipe.options(data, train__lr_G=2e-3), saved)


def test_option_newer_than_the_checkpoint(data: Path) -> None:
    """A key that a later version of the program brought counts as not set then."""
    saved = checkpoint.dump_options(training_recipe.options(data))
    older = "".join(line for line in saved.splitlines(keepends=True) if line.strip() != "text: 0.0")
    assert older != saved
    checkpoint.check_options(training_recipe.options(data), older)
    with pytest.raises(UserError, match=r"datasets\.train\.text was 0.0, is 0.5"):
        checkpoint.check_options(training_recipe.options(data, datasets__train__text=0.5), older)


def test_changed_start_weights_are_not_ignored(data: Path) -> None:
    saved = checkpoint.dump_options(training_recipe.options(data))
    with pytest.raises(UserError, match=r"path\.pretrain_model_G was not set, is Models/b.pth"):
        checkpoint.check_options(training_recipe.options(data, path={"pretrain_model_G": "Models/b.pth"}), saved)


def test_baseline_called_as_the_network_s_own_line(data: Path) -> None:
    x0 = {"network": {"network_G": {"which_model_G": "Initial"}}}
    with pytest.raises(ValueError, match="rename it"):
        training_recipe.options(data, baselines=x0)


def test_checkpoint_of_another_network(data: Path) -> None:
    state = trainer_of(data).state()
    with pytest.raises(UserError, match="does not fit"):
        trainer_of(data, network_G__nf_p=8).load_state(state)
