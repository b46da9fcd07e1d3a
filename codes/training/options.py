"""Options of a training file: MMSR's keys, and beside them what MMSR lacks."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from codes.options import AnyNetwork, Method, Options, TestSet

Fraction = Annotated[float, Field(ge=0, le=1)]


class KernelShares(Options):
    """How the training kernels are shared out among the kinds; need not sum to 1."""

    camera_shake: NonNegativeFloat = 0.9
    gaussian: NonNegativeFloat = 0.05
    disk: NonNegativeFloat = 0.05
    delta: NonNegativeFloat = 0.0
    """a single pixel: no blur at all"""

    @model_validator(mode="after")
    def _some(self) -> "KernelShares":
        if not self.camera_shake + self.gaussian + self.disk + self.delta > 0:
            raise ValueError("at least one kind of kernel needs a share above 0")
        return self


class Phase(Options):
    """Patch and batch from iteration `from_iter` on, until the next phase."""

    from_iter: PositiveInt
    GT_size: PositiveInt
    batch_size: PositiveInt


class TrainSet(Options):
    """Sharp images, cut to patches, blurred and made noisy on the fly."""

    name: str
    mode: Literal["GTDB"]
    dataroot_GT: str
    embedded: bool = False
    """made on the spot from the photographs of the scikit-image package if not there yet"""
    GT_size: PositiveInt
    """side of a patch"""
    batch_size: PositiveInt
    """patches of one step, all processes together"""
    progressive: list[Phase] = []
    """later phases with another patch and batch size"""
    n_workers: NonNegativeInt = 2
    """data workers of each process"""
    use_flip: bool = True
    use_rot: bool = True
    use_shuffle: bool = True
    kernel_size: PositiveInt = 35
    """kernels are zero-padded to this side; odd"""
    kernel_size_min: PositiveInt = 11
    kernels: KernelShares = KernelShares()
    noise: list[Fraction] = Field([0.0, 0.05], min_length=2, max_length=2)
    """least and largest standard deviation"""
    noise_exponent: PositiveFloat = 1.0
    """least + (largest - least) * u ** noise_exponent is drawn, u uniform: above 1 for more of the little noise"""
    real_border: Fraction = 0.5
    """share of patches whose blur sees real pixels beyond the patch; the others' border is replicated"""
    grey: Fraction = 0.0
    """share of patches made grey, with the same noise in all channels, as grey photographs have"""
    grey_independent: Fraction = 0.0
    """share of the grey patches whose noise is drawn for each channel"""
    text: Fraction = 0.0
    """share of patches that are of a page of random text in place of an image"""
    masks: Fraction = 0.0
    """share of patches with clipped highlights and dead pixels, which a mask leaves out; the network gets masks then"""
    round_8bit: bool = False
    """clip and round the blurry patch as an 8-bit file would"""

    @model_validator(mode="after")
    def _fitting(self) -> "TrainSet":
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size}: an odd number is needed")
        if not 3 <= self.kernel_size_min <= self.kernel_size:
            raise ValueError(f"kernel_size_min {self.kernel_size_min}: 3 to kernel_size ({self.kernel_size}) is needed")
        if self.noise[0] > self.noise[1]:
            raise ValueError("noise: the smaller standard deviation comes first")
        starts = [phase.from_iter for phase in self.progressive]
        if starts != sorted(set(starts)):
            raise ValueError("progressive: from_iter has to grow from phase to phase")
        return self


class TrainDatasets(Options):
    train: TrainSet
    val: dict[str, TestSet] = {}
    """validation sets, each scored on its own"""


class Recipe(Options):
    """The `train:` group: optimiser, schedule, loss."""

    manual_seed: NonNegativeInt
    niter: PositiveInt
    optimizer: Literal["AdamW", "Adam"] = "AdamW"
    lr_G: PositiveFloat
    start_values: str | None = None
    """what a new network starts from, a name in START_VALUES; torch's own start if not given"""
    lr_scale: dict[str, NonNegativeFloat] = {}
    """learning rate of the weights whose names match a pattern, as a multiple of lr_G"""
    weight_decay_G: NonNegativeFloat = 0.0
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    lr_scheme: Literal["MultiStepLR", "CosineAnnealingLR_Restart"]
    lr_steps: list[PositiveInt] = []
    lr_gamma: PositiveFloat = 0.5
    T_period: list[PositiveInt] = []
    restarts: list[PositiveInt] = []
    restart_weights: list[PositiveFloat] = []
    eta_min: NonNegativeFloat = 0.0
    warmup_iter: NonNegativeInt = 0
    """the learning rate grows linearly over so many iterations"""
    pixel_criterion: Literal["l1", "l2", "cb"] = "l1"
    pixel_weight: NonNegativeFloat = 1.0
    fft_weight: NonNegativeFloat = 0.0
    """of the mean modulus of the difference's 2-D real Fourier transform, unnormalised"""
    reblur_weight: NonNegativeFloat = 0.0
    """of the same loss on (result blurred again + true noise) against the blurry image"""
    stage_weights: list[NonNegativeFloat] | None = None
    """one for each stage's image; all 1 if not given"""
    grad_clip: PositiveFloat | None = None
    """largest norm of the gradient"""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """of the average of the weights that is validated and kept; 0 keeps the weights themselves"""
    amp: bool = False
    """bfloat16 autocast"""
    channels_last: bool = True
    checkpoint_stages: bool = False
    """less memory: every stage is computed again for its gradient"""
    compile: bool = False
    """torch.compile"""
    max_nonfinite: PositiveInt = 10
    """training stops after so many steps in a row whose loss or gradient is not finite"""
    val_freq: PositiveInt
    val_images: PositiveInt | None = None
    """validate on so many images of each set only"""

    @model_validator(mode="after")
    def _schedule(self) -> "Recipe":
        if len(self.restarts) != len(self.restart_weights):
            raise ValueError("restarts and restart_weights need the same number of entries")
        if self.restarts != sorted(set(self.restarts)):
            raise ValueError("restarts have to grow")
        if self.lr_scheme == "CosineAnnealingLR_Restart" and len(self.T_period) != len(self.restarts) + 1:
            raise ValueError("T_period needs one entry more than restarts")
        return self


class Logger(Options):
    print_freq: PositiveInt = 100
    save_checkpoint_freq: PositiveInt = 1000


class TrainPaths(Options):
    pretrain_model_G: str | None = None
    strict_load: bool = True
    pretrain_denoiser: str | None = None
    """weights of a `Denoiser`, for the one in the x-step of a new network"""
    resume_state: str | None = None
    """a checkpoint to go on from; if not given, the last one of experiments/<name>"""


class TrainOptions(Options):
    """A training option file."""

    name: str = Field(pattern=r"^[\w.+-]+$")
    model: Literal["db"] = "db"
    distortion: Literal["sr"] = "sr"
    scale: Literal[1] = 1
    gpu_ids: list[NonNegativeInt]
    use_tb_logger: bool = True
    datasets: TrainDatasets
    network_G: AnyNetwork
    path: TrainPaths = TrainPaths()
    train: Recipe
    logger: Logger = Logger()
    baselines: dict[str, Method] = {}
    """methods whose scores on the validation sets are drawn beside the network's"""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainOptions":
        stages = getattr(self.network_G, "n_iter", None)
        if stages is None:
            raise ValueError(f"network_G: {self.network_G.which_model_G} has nothing to train")
        if "network" in self.baselines:
            raise ValueError("baselines: 'network' is what the trained network's own line is called; rename it")
        weights = self.train.stage_weights
        if weights is not None and (len(weights) != stages or not weights[-1]):
            raise ValueError(
                f"train.stage_weights: {stages} numbers are needed, one for each stage, the last one not 0"
            )
        return self
