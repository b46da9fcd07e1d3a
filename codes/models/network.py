"""Network: what test.py, train.py and deblur.py need of a network."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from codes.utils.errors import UserError


class Network(nn.Module):
    """Base class of all networks. A subclass has to define `forward(blurry, kernel)` only.

    Args of `forward`:
        blurry: Images (B, C, H, W), values in [0, 1].
        kernel: (B, h, w), or (B, C, h, w) for one kernel per channel. Each sums to 1 and is cross-correlated with the
            sharp image.
        mask, sigma, x0, stages: Only for networks whose flags below say so.

    Returns:
        The restored images (B, C, H, W), not clamped.
    """

    # Channels of the image. None: any number (classical methods).
    in_nc: int | None = 3
    # Number of stages.
    n_iter: int = 1
    # forward accepts mask= (B, 1 or C, H, W), 1 at valid pixels.
    takes_mask = False
    # forward accepts sigma= (B,), the standard deviation of the noise; None: the network estimates it.
    takes_sigma = False
    # forward accepts x0= (B, C, H, W), a start that the caller knows better.
    takes_x0 = False
    # forward accepts stages=True and then returns the list x_1 ... x_T.
    gives_stages = False
    # In training and testing the network gets the true noise level (denoisers, classical methods).
    uses_true_sigma = False
    # False for the classical methods.
    needs_weights = True
    # False for a denoiser, which is trained here but does not use the kernel: deblur.py refuses it.
    deblurs = True
    # In training, use activation checkpointing: store the input of each stage only. None: it cannot.
    checkpoint_stages: bool | None = None
    # What the network's blur sees beyond the image: replicate, circular or zero.
    padding_mode: str = "replicate"
    # Memory that forward needs, in bytes per pixel of an RGB image beyond the input and result. Large images are cut
    # into tiles by it. This default is on the safe side: more than the largest network of the paper needs.
    bytes_per_pixel: int = 10_000

    def initial(self, blurry: Tensor, kernel: Tensor) -> Tensor:
        """x0 (B, C, H, W), the start of the iteration; here the blurry image."""
        return blurry

    def accepted(
        self,
        *,
        mask: Tensor | None = None,
        sigma: Tensor | None = None,
        x0: Tensor | None = None,
        stages: bool = False,
    ) -> dict[str, Tensor | bool]:
        """Keep only the arguments that this network's `forward` supports.

        Raises ValueError for a mask if the network does not use masks.
        """
        if mask is not None and not self.takes_mask:
            raise ValueError(f"{type(self).__name__} does not use masks")
        arguments: dict[str, Tensor | bool] = {}
        if mask is not None:
            arguments["mask"] = mask
        if sigma is not None and self.takes_sigma:
            arguments["sigma"] = sigma
        if x0 is not None and self.takes_x0:
            arguments["x0"] = x0
        if stages and self.gives_stages:
            arguments["stages"] = True
        return arguments

    def images(
        self, blurry: Tensor, kernel: Tensor, forward: Callable[..., Any] | None = None, **arguments: Tensor | None
    ) -> list[Tensor]:
        """The images of all stages, x_1 ... x_T; a list of one image if the network does not give stages.

        forward: what is called in place of the network, such as its compiled form. arguments: mask, sigma, x0 as for
        `accepted`.
        """
        call = self if forward is None else forward
        result = call(blurry, kernel, **self.accepted(**arguments, stages=True))
        return result if self.gives_stages else [result]

    def keys_in_file(self, weights: Mapping[str, Tensor]) -> dict[str, str]:
        """{key of this network: key in a weight file}; here both are the same.

        A network that reads files with other names overrides this. Keys of the file that it leaves out are ignored.
        Raises ValueError if the file contradicts itself.
        """
        return {key: key for key in weights}

    def load_denoiser(self, path: str) -> None:
        """Load `path.pretrain_denoiser`, the weights of a denoiser that was trained on its own.

        Raises UserError if they do not fit or the network has no denoiser.
        """
        raise UserError(f"path.pretrain_denoiser: {type(self).__name__} has no denoiser; remove the key")
