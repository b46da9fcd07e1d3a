"""Options of a training set: what patches are cut, and how they are blurred and made noisy."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from codes.utils.option_files import Options

Fraction = Annotated[float, Field(ge=0, le=1)]


class KernelFrequencies(Options):
    """Relative frequencies of the kinds of kernels; they need not sum to 1."""

    camera_shake: NonNegativeFloat = Field(0.9, description="Frequency of camera shake along random paths.")
    gaussian: NonNegativeFloat = Field(0.05, description="Frequency of isotropic Gaussians.")
    disk: NonNegativeFloat = Field(0.05, description="Frequency of disks (out of focus).")
    delta: NonNegativeFloat = Field(0.0, description="Frequency of kernels of one pixel (no blur).")

    @model_validator(mode="after")
    def _some(self) -> "KernelFrequencies":
        if not self.camera_shake + self.gaussian + self.disk + self.delta > 0:
            raise ValueError("at least one kind of kernel needs a frequency above 0")
        return self


class Phase(Options):
    """Patch and batch size from one iteration on, until the next phase."""

    from_iter: PositiveInt = Field(description="First iteration of the phase, counted from 0.")
    GT_size: PositiveInt = Field(description="Side of a patch, in pixels.")
    batch_size: PositiveInt = Field(description="Patches in one step, over all processes.")


class TrainSet(Options):
    """Sharp images, cut to patches, blurred and made noisy on the fly."""

    name: str = Field(description="Name of the set, for the card of the weights.")
    mode: Literal["GTDB"] = Field("GTDB", description="MMSR's name for this kind of set; the only one for training.")
    dataroot_GT: str = Field(description="Folder of the sharp images.")
    embedded: bool = Field(
        False, description="Make the set from the photographs of the scikit-image package if the folder is missing."
    )
    GT_size: PositiveInt = Field(description="Side of a patch, in pixels; no image may be smaller.")
    batch_size: PositiveInt = Field(description="Patches in one step, over all processes.")
    progressive: list[Phase] = Field([], description="Later phases with other patch and batch sizes.")
    n_workers: NonNegativeInt = Field(2, description="Data workers of each process.")
    use_flip: bool = Field(True, description="Mirror image and kernel at random.")
    use_rot: bool = Field(True, description="Rotate image and kernel by random multiples of 90 degrees.")
    use_shuffle: bool = Field(True, description="Show the images in a new random order in every epoch.")
    kernel_size: PositiveInt = Field(
        35, description="Largest side of a kernel, in pixels, odd; smaller kernels are padded with zeros to it."
    )
    kernel_size_min: PositiveInt = Field(11, description="Smallest side of a kernel, in pixels.")
    kernels: KernelFrequencies = Field(KernelFrequencies(), description="Relative frequencies of the kinds of kernels.")
    noise: list[Fraction] = Field(
        [0.0, 0.05],
        min_length=2,
        max_length=2,
        description="Smallest and largest standard deviation of the noise, as fractions of the full range.",
    )
    noise_exponent: PositiveFloat = Field(
        1.0,
        description="A patch's noise is smallest + (largest - smallest) * u ** noise_exponent with u uniform in "
        "[0, 1]; above 1, weak noise is more frequent.",
    )
    real_border: Fraction = Field(
        0.5,
        description="Probability that a patch is blurred with the real pixels beyond its border; otherwise the border "
        "is replicated.",
    )
    grey: Fraction = Field(
        0.0,
        description="Probability that a patch is made grey, with equal noise in all channels, as in a grey photograph.",
    )
    grey_independent: Fraction = Field(
        0.0, description="Probability that the noise of a grey patch is drawn independently for each channel."
    )
    text: Fraction = Field(0.0, description="Probability that a patch is cut from a page of random text.")
    masks: Fraction = Field(
        0.0,
        description="Probability that a patch has clipped highlights and dead pixels, for which the network gets a "
        "mask. Ignored, with a warning, for a network that does not use masks.",
    )
    round_8bit: bool = Field(False, description="Clip and round the blurry patch as an 8-bit file does.")

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
