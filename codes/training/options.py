"""The schema of a training file: MMSR's keys, and those that MMSR lacks."""

from itertools import pairwise
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from codes.data.patch_options import TrainSet
from codes.options import AnyNetwork, CommandOptions, Method, Name, PathOptions, TestSet
from codes.utils.option_files import Options

# Without warmup_iter, the learning rate grows during this fraction of all iterations.
WARMUP = 1 / 30
# Names of lines in tensorboard that belong to the network itself.
OWN_LINES = ("network", "start")


class TrainDatasets(Options):
    train: TrainSet = Field(description="The sharp images to train on.")
    val: dict[Name, TestSet] = Field({}, description="The validation sets by name; each is scored separately.")


class Recipe(Options):
    """The `train:` group: optimiser, schedule, loss."""

    manual_seed: NonNegativeInt = Field(description="Seed of start weights, patches, kernels and noise.")
    niter: PositiveInt = Field(description="Number of iterations (training steps).")
    lr_G: PositiveFloat = Field(description="Learning rate at the start, after the warm-up.")
    lr_scale: dict[str, NonNegativeFloat] = Field(
        {},
        description="Factors for the learning rate of some weights: {pattern: factor}, where a pattern such as "
        "`solver.*` is compared with the weights' names and the first match counts.",
    )
    weight_decay_G: NonNegativeFloat = Field(0.0, description="Weight decay of the optimiser.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the optimiser's mean of the gradients.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the optimiser's mean of the squared gradients.")
    lr_scheme: Literal["MultiStepLR", "CosineAnnealingLR_Restart"] = Field(
        "CosineAnnealingLR_Restart",
        description="How the learning rate falls: by a factor at given iterations, or as a cosine to eta_min.",
    )
    lr_steps: list[PositiveInt] = Field(
        [], description="MultiStepLR: iterations at which the learning rate is multiplied by lr_gamma."
    )
    lr_gamma: PositiveFloat = Field(0.5, description="MultiStepLR: the factor of the learning rate.")
    T_period: list[PositiveInt] = Field(
        [],
        description="CosineAnnealingLR_Restart: lengths of the periods, in iterations. If it is not given, each "
        "period ends at the next restart, and the last one at niter.",
    )
    restarts: list[PositiveInt] = Field([], description="Iterations at which the schedule starts again.")
    restart_weights: list[PositiveFloat] = Field(
        [], description="The learning rate at each restart, as a multiple of lr_G."
    )
    eta_min: NonNegativeFloat = Field(0.0, description="CosineAnnealingLR_Restart: the learning rate at the end.")
    warmup_iter: NonNegativeInt | None = Field(
        None,
        description="Number of iterations during which the learning rate grows linearly; a thirtieth of niter if it "
        "is not given.",
    )
    pixel_criterion: Literal["l1", "l2", "cb"] = Field(
        "l1", description="Loss on pixels: mean absolute difference, mean squared difference, or Charbonnier."
    )
    pixel_weight: NonNegativeFloat = Field(1.0, description="Weight of the loss on pixels.")
    fft_weight: NonNegativeFloat = Field(
        0.0, description="Weight of the mean modulus of the difference's unnormalised 2-D real Fourier transform."
    )
    reblur_weight: NonNegativeFloat = Field(
        0.0, description="Weight of the same loss between the result, blurred again plus the true noise, and the input."
    )
    stage_weights: list[NonNegativeFloat] | None = Field(
        None, description="Weight of the loss on each stage's image; 1 for every stage if it is not given."
    )
    grad_clip: PositiveFloat | None = Field(None, description="Largest norm of the gradient; no limit if not given.")
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of the exponential moving average of the weights, which is validated and saved. With 0, "
        "the weights themselves are.",
    )
    tf32: bool = Field(False, description="On a GPU, compute convolutions in TF32: faster than float32, less exact.")
    amp: bool = Field(False, description="Compute in bfloat16 where PyTorch's autocast does.")
    noise_level: Literal["own", "deblur"] = Field(
        "own",
        description="The noise level in training and validation: the network's own estimate, or the one that deblur.py "
        "gives it, which holds for photographs.",
    )
    checkpoint_stages: bool = Field(
        False, description="Save memory by activation checkpointing: each stage is recomputed in the backward pass."
    )
    compile: bool = Field(False, description="Use torch.compile.")
    start_values: str | None = Field(
        None, description="Name of a set of start values for a new network, in codes/training/start_values.py."
    )
    val_freq: PositiveInt = Field(description="Number of iterations between validations.")
    val_images: PositiveInt | None = Field(
        None, description="Number of images of each validation set that are used; all if it is not given."
    )

    @model_validator(mode="after")
    def _schedule(self) -> "Recipe":
        if not self.pixel_weight + self.fft_weight > 0:
            raise ValueError("pixel_weight, fft_weight: one of them has to be above 0, or there is no loss")
        if self.warmup_iter is None:
            self.warmup_iter = int(WARMUP * self.niter)
        ends = [*self.restarts, self.niter]
        if ends != sorted(set(ends)):
            raise ValueError(f"restarts must increase and be below niter ({self.niter})")
        if not self.T_period:
            self.T_period = [end - begin for begin, end in pairwise([0, *ends])]
        if not len(self.restart_weights) + 1 == len(self.T_period) == len(ends):
            raise ValueError("restarts and restart_weights need the same number of entries, and T_period one more")
        return self


class Logger(Options):
    print_freq: PositiveInt = Field(100, description="Number of iterations between lines on the progress.")
    save_checkpoint_freq: PositiveInt = Field(1000, description="Number of iterations between checkpoints.")


class TrainPaths(PathOptions):
    pretrain_denoiser: str | None = Field(
        None, description="Weight file of a `Denoiser`, for the denoiser in the x-step of a new network."
    )
    resume_state: str | None = Field(
        None, description="Checkpoint to continue from; the last one of `experiments/<name>` if it is not given."
    )


class TrainOptions(CommandOptions):
    """A training option file."""

    name: Name = Field(description="Name of the training; its results are in `experiments/<name>`.")
    use_tb_logger: bool = Field(True, description="Write tensorboard files to `tb_logger/<name>`.")
    datasets: TrainDatasets = Field(description="Training and validation images.")
    network_G: AnyNetwork = Field(description="The network: `preset`, or `which_model_G` and its keys.")
    path: TrainPaths = Field(TrainPaths(), description="Weights and checkpoints to start from.")
    train: Recipe = Field(description="Optimiser, schedule and loss.")
    logger: Logger = Field(Logger(), description="How often progress is printed and saved.")
    baselines: dict[Name, Method] = Field(
        {}, description="Methods whose scores on the validation sets are drawn next to the network's in tensorboard."
    )

    @model_validator(mode="after")
    def _fitting(self) -> "TrainOptions":
        if self.train.start_values is not None and self.path.pretrain_model_G is not None:
            raise ValueError("train.start_values: path.pretrain_model_G replaces these values; remove one of the keys")
        for name in OWN_LINES:
            if name in self.baselines:
                raise ValueError(f"baselines: '{name}' is the name of the trained network's own line; rename it")
        return self
