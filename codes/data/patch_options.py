"""Options of a training set: what patches are cut, and how they are blurred and made noisy."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from codes.utils.option_files import Options

MOST_WORKERS = 256
LARGEST_KERNEL = 501
SMALLEST_PATCH = 8

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


def _limits(least: float, most: float) -> Any:
    """The type of a key with two numbers from `least` to `most`, the smaller one first."""
    number = Annotated[float, Field(ge=least, le=most)]
    return Annotated[list[number], Field(min_length=2, max_length=2), AfterValidator(_ascending)]


def _ascending(values: list[float]) -> list[float]:
    if values[0] > values[1]:
        raise ValueError("the smaller number comes first")
    return values


# The shares in `Camera`.
CAMERA_STEPS = ("jpeg", "shot_noise", "grain", "bayer", "curve", "highlights", "wrong_kernel")


class Camera(Options):
    """What photographs have and test images lack. Every share is one of patches; each pair is a range to draw from.

    All of it is drawn apart from the rest of a sample, so a share of 0 changes nothing.
    """

    def only(self, step: str) -> "Camera":
        """The same with this step alone, in every patch."""
        return self.model_copy(update=dict.fromkeys((*CAMERA_STEPS, "decoded"), 0.0) | {step: 1.0})

    jpeg: Fraction = Field(0.0, description="Share of patches compressed as JPEG files.")
    jpeg_quality: _limits(1, 100) = Field([60, 98], description="Their quality.")
    half_colour: Fraction = Field(0.5, description="Share of the JPEG files with colours at half resolution (4:2:0).")
    shot_noise: Fraction = Field(
        0.0,
        description="Share of patches with Poisson-Gaussian noise, which is stronger in bright places; those with a "
        "tone curve always have it.",
    )
    shot_noise_part: _limits(0, 1) = Field(
        [0.5, 1.0], description="Poisson's part of that noise's variance at middle grey."
    )
    grain: Fraction = Field(0.0, description="Share of patches whose noise has grains instead of single pixels.")
    grain_width: _limits(0.1, 3) = Field([0.3, 0.9], description="Standard deviation of a grain's Gaussian, in pixels.")
    bayer: Fraction = Field(
        0.0, description="Share of the colour patches of which each pixel recorded one colour (demosaicing)."
    )
    curve: Fraction = Field(
        0.0, description="Share of patches with a tone curve: blur and noise in linear light, the curve after them."
    )
    curve_exponent: _limits(1, 4) = Field([2.0, 2.8], description="Exponent of that curve; 2.4 is sRGB.")
    decoded: Fraction = Field(
        0.0,
        description="Share of the patches with a tone curve that are trained on in linear light, by the inverse of "
        "sRGB's curve, as deblur.py --gamma srgb restores them.",
    )
    highlights: Fraction = Field(
        0.0, description="Share of the patches without a mask whose highlights are clipped; the network is not told."
    )
    wrong_kernel: Fraction = Field(0.0, description="Share of patches for which the network is given a wrong kernel.")
    kernel_shift: _limits(0, 2) = Field([0.0, 0.3], description="Its shift along each axis, in pixels.")
    kernel_scale: _limits(0.5, 2) = Field([0.92, 1.08], description="Its size, as a multiple of the true one.")
    kernel_smoothing: _limits(0, 3) = Field([0.0, 0.6], description="Standard deviation of its smoothing, in pixels.")
    kernel_noise: _limits(0, 0.5) = Field([0.0, 0.03], description="Its noise, as a fraction of its maximum.")
    kernel_cut: _limits(0, 0.5) = Field(
        [0.0, 0.06], description="What is darker than this fraction of its maximum becomes 0."
    )


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
    camera: Camera = Field(Camera(), description="What only photographs have: JPEG, camera noise, tone curve.")
    round_8bit: bool = Field(False, description="Clip and round the blurry patch as an 8-bit file does.")

    @model_validator(mode="after")
    def _fitting(self) -> "TrainSet":
        if self.n_workers > MOST_WORKERS:
            raise ValueError(f"n_workers {self.n_workers}: at most {MOST_WORKERS}, each is a process of its own")
        if self.kernel_size > LARGEST_KERNEL:
            raise ValueError(f"kernel_size {self.kernel_size}: at most {LARGEST_KERNEL}; larger ones take minutes")
        if min([self.GT_size, *(phase.GT_size for phase in self.progressive)]) < SMALLEST_PATCH:
            raise ValueError(f"GT_size: at least {SMALLEST_PATCH} pixels; the filters see nothing in smaller patches")
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
