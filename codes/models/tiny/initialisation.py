"""The start of DSDNetTiny: its x0, and its filters before training."""

import torch
from torch import Tensor, nn

from codes.models.noise import LEAST_SIGMA, estimate_noise
from codes.models.paper.blur import by_channel, inner, pad_to_fast_size, transfer_function
from codes.models.paper.filters import PADDING, Filters
from codes.models.paper.formats import match_memory_format
from codes.models.paper.initialisation import INITIALISATIONS, edge_taper, inverse_filter


@INITIALISATIONS.register("adaptive")
class AdaptiveInitialisation(nn.Module):
    """x0 as in the paper, but the weight of the inverse filter grows with the noise in the blurry image.

    weight = weight_at_1_percent * (sigma / 0.01) ** exponent; both numbers were fitted on training images. The
    extended image is a little larger than the paper's, so that its Fourier transform is fast.
    """

    weight_at_1_percent = 0.0129
    exponent = 1.73

    def forward(self, blurry: Tensor, kernel: Tensor) -> Tensor:
        """blurry (B, C, H, W), kernel (B, h, w) or (B, C, h, w), odd sides -> x0 (B, C, H, W), not clamped."""
        sigma = estimate_noise(blurry).clamp(min=LEAST_SIGMA)
        weight = self.weight_at_1_percent * (sigma / 0.01) ** self.exponent
        padded = pad_to_fast_size(blurry, kernel.shape[-2:])
        size = padded.shape[-2:]
        K = transfer_function(by_channel(kernel), size)
        tapered = edge_taper(padded, kernel, circular_blur=lambda y: torch.fft.irfft2(K * torch.fft.rfft2(y), s=size))
        x0 = inverse_filter(tapered, K, weight[:, None, None, None])
        return match_memory_format(inner(x0, blurry.shape[-2:], kernel.shape[-2:]), blurry)


def start_as_identity(bank: Filters) -> None:
    """Make the first filters of a bank return the image, one filter per channel; the others are random, of mean 0.

    The parts after the bank then see the values of the image, not only mixtures of 7x7 of them.
    """
    channels = min(bank.in_channels, bank.out_channels)
    with torch.no_grad():
        bank.weight.sub_(bank.weight.mean((-2, -1), keepdim=True))
        bank.weight[:channels] = 0.0
        for channel in range(channels):
            bank.weight[channel, channel, PADDING, PADDING] = 1.0
