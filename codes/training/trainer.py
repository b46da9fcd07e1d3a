"""A training step, and the state that it changes."""

from collections.abc import Callable, Mapping
from itertools import repeat
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from codes.data.degradation import seed_of
from codes.data.patches import Sample
from codes.inference.gaps import fill_gaps
from codes.inference.noise_level import noise_level
from codes.models.network import Network
from codes.training.losses import training_loss
from codes.training.options import Recipe
from codes.training.schedule import build_optimizer, build_scheduler, rate_factor
from codes.utils.devices import tf32
from codes.utils.errors import UserError
from codes.utils.processes import Processes

# Training stops after this number of steps in a row whose loss or gradient is not finite.
MOST_SKIPPED_IN_A_ROW = 10


class Trainer:
    """Network, average, optimiser and schedule, and how a batch changes them.

    network: already on the device. `iteration` counts the steps done. Raises UserError for a network without
    weights, or options of the recipe that do not fit the network.
    """

    def __init__(self, network: Network, recipe: Recipe, device: torch.device, group: Processes):
        check_recipe(network, recipe)
        network = in_channels_last(network)
        if recipe.checkpoint_stages:
            network.checkpoint_stages = True
        self.recipe, self.device, self.group = recipe, device, group
        self.network = network.train()
        self.average = moving_average(network, recipe.ema_decay, lambda: self.iteration - 1)
        self.optimizer = build_optimizer(network, recipe)
        self.scheduler = build_scheduler(self.optimizer, recipe)
        self.iteration = 0
        self._skipped = torch.zeros(2, dtype=torch.int64, device=device)  # in all, and in a row
        self._forward: nn.Module = network
        if recipe.compile:
            network.compile()
        if group.world_size > 1:
            self._forward = DistributedDataParallel(
                network, [device] if device.type == "cuda" else None, gradient_as_bucket_view=True
            )

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step, for weights without a factor in `lr_scale`."""
        return self.recipe.lr_G * rate_factor(self.iteration - 1, self.recipe)

    @property
    def skipped(self) -> int:
        """Number of steps whose loss or gradient was not finite. Reading it waits for the GPU."""
        return int(self._skipped[0])

    @property
    def skipped_in_a_row(self) -> int:
        """Number of such steps since the last one that was finite."""
        return int(self._skipped[1])

    def step(self, batch: Sample) -> dict[str, float | Tensor]:
        """Train on this process's part of a batch; returns the metrics to report, which are tensors on a GPU.

        A step whose loss or gradient is not finite changes no weights and is counted. Nothing here waits for the GPU.
        """
        # Dropout depends on (seed, iteration, rank) alone, so a checkpoint needs no state of a random generator.
        torch.manual_seed(seed_of("step", self.iteration, self.group.rank, seed=self.recipe.manual_seed))
        # With a mask, x0 is that of the image with its gaps filled, as in codes/deblur.py. The CPU fills them.
        without_gaps = None if batch.mask is None else fill_gaps(batch.blurry, batch.mask)
        if self.recipe.noise_level == "deblur":
            images = (batch.blurry if without_gaps is None else without_gaps).permute(0, 2, 3, 1).numpy()
            masks = repeat(None) if batch.mask is None else batch.mask[:, 0].numpy()
            levels = [noise_level(*parts) for parts in zip(images, batch.kernel.numpy(), masks, strict=False)]
            batch = batch._replace(sigma=torch.tensor(levels))
        parts = [*batch, without_gaps]
        *parts, without_gaps = (None if part is None else part.to(self.device, non_blocking=True) for part in parts)
        batch = Sample(*parts)
        self.optimizer.zero_grad(set_to_none=True)
        with tf32(self.recipe.tf32):
            loss, terms = training_loss(self._stages(batch, without_gaps), batch, self.recipe)
            loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None])
        if self.recipe.grad_clip:
            nn.utils.clip_grads_with_norm_(self.network.parameters(), self.recipe.grad_clip, norm)
        metrics = torch.stack([loss.detach(), norm, *terms.values()]).float()
        if self.group.world_size > 1:
            dist.all_reduce(metrics)
            metrics /= self.group.world_size
        bad = ~metrics[:2].isfinite().all()
        self.optimizer.found_inf = bad.float()  # fused optimisers skip the step then
        self.optimizer.step()
        self._skipped = (self._skipped + bad) * torch.stack([torch.ones_like(bad), bad])
        self.scheduler.step()
        self.iteration += 1
        self.average.update_parameters(self.network)
        values = metrics.tolist() if self.device.type == "cpu" else metrics
        return dict(zip(("loss", "grad_norm", *terms), values, strict=True))

    def _stages(self, batch: Sample, without_gaps: Tensor | None) -> list[Tensor]:
        """The images of all stages, x_1 ... x_T; one image if the network does not give stages."""
        network, blurry = self.network, batch.blurry.contiguous(memory_format=torch.channels_last)
        sigma = batch.sigma if network.uses_true_sigma or self.recipe.noise_level == "deblur" else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.amp):
            x0 = None if without_gaps is None else network.initial(without_gaps, batch.kernel)
            return network.images(blurry, batch.kernel, self._forward, mask=batch.mask, sigma=sigma, x0=x0)

    def check_finite(self) -> None:
        """Raise UserError after too many steps in a row whose loss or gradient was not finite."""
        if self.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise UserError(
                f"the loss was not finite for {self.skipped_in_a_row} steps in a row, up to iteration "
                f"{self.iteration}; continue from the last checkpoint with a lower train.lr_G and --accept-changes"
            )

    def check_weights(self) -> None:
        """Raise UserError if the weights, or buffers such as BatchNorm's statistics, are not finite."""
        if not all(tensor.isfinite().all() for tensor in self.network.state_dict().values()):
            raise UserError(
                f"the weights are no longer finite at iteration {self.iteration}; continue from the last checkpoint "
                "with a lower train.lr_G or train.grad_clip and --accept-changes"
            )

    def state(self) -> dict[str, Any]:
        """The content of a checkpoint. The position in the data follows from `iteration`."""
        return {
            "iteration": self.iteration,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "network": self.network.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, with the recipe's learning rate, betas and weight decay.

        Raises UserError if the state belongs to another network.
        """
        kept = ("betas", "weight_decay", "initial_lr")
        fresh = [{key: group[key] for key in kept} for group in self.optimizer.param_groups]
        try:
            self.network.load_state_dict(state["network"])
            self.average.module.load_state_dict(state["average"])
            self.average.n_averaged.fill_(state["iteration"])
            self.optimizer.load_state_dict(state_by_weight_names(state["optimizer"], self.optimizer))
            self.scheduler.load_state_dict(state["scheduler"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"the checkpoint does not fit this network: {str(error).partition(chr(10))[0]}") from None
        self.scheduler.base_lrs = [settings["initial_lr"] for settings in fresh]
        for group, settings in zip(self.optimizer.param_groups, fresh, strict=True):
            group.update(settings, lr=settings["initial_lr"] * rate_factor(state["iteration"], self.recipe))
        self.iteration = state["iteration"]
        self._skipped = torch.tensor([state["skipped"], state["skipped_in_a_row"]], device=self.device)


def moving_average(network: Network, decay: float, steps: Callable[[], int]) -> AveragedModel:
    """The exponential moving average of the network's weights, in eval mode; with a decay of 0 the weights themselves.

    steps: the number of steps that are in the average. At first the decay is smaller than `decay`, so that the random
    start is soon forgotten. Buffers, such as the running statistics of BatchNorm, are copied: they are averages
    already.
    """

    def update(own: list[Tensor], new: list[Tensor], _: Tensor) -> None:  # reading the tensor would wait for the GPU
        n = steps()
        torch._foreach_lerp_(own, new, 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(network, multi_avg_fn=update).eval().requires_grad_(False)


def state_by_weight_names(saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> Mapping[str, Any]:
    """The saved state of an optimiser in the parameter groups of `optimizer`.

    The groups follow `lr_scale`, which may have changed, and torch itself matches weights by their position.
    """
    groups = saved["param_groups"]
    if not all("param_names" in group for group in groups):  # checkpoints before 26 November 2026
        return saved
    numbers = {name: n for group in groups for name, n in zip(group["param_names"], group["params"], strict=True)}
    state = optimizer.state_dict()
    state["state"] = {
        n: saved["state"][numbers[name]]
        for group in state["param_groups"]
        for name, n in zip(group["param_names"], group["params"], strict=True)
        if numbers.get(name) in saved["state"]
    }
    return state


def check_recipe(network: Network, recipe: Recipe) -> None:
    """Raise UserError for a network without weights, or for options that do not fit its stages."""
    name = type(network).__name__
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError(f"network_G: {name} has nothing to train")
    if recipe.checkpoint_stages and network.checkpoint_stages is None:
        raise UserError(f"train.checkpoint_stages: {name} cannot compute its stages again; set it to false")
    if network.in_nc != 3:
        raise UserError(f"network_G.in_nc: {network.in_nc}, but the training images have 3 channels")
    stages = network.n_iter if network.gives_stages else 1
    weights = recipe.stage_weights
    if weights is not None and (len(weights) != stages or not weights[-1]):
        raise UserError(f"train.stage_weights: {stages} numbers are needed, one for each stage, the last one not 0")


def in_channels_last(network: Network) -> Network:
    """The network with its convolutions' weights in the channels-last layout."""
    network = network.to(memory_format=torch.channels_last)
    for parameter in network.parameters():
        if parameter.dim() == 4 and parameter.shape[1] == 1:
            # With one input channel both layouts are the same in memory but not in their strides, and
            # DistributedDataParallel needs the strides of the gradients.
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    return network
