"""CGNet whose U-Net starts at zero."""

from torch import Tensor

from codes.models.archs.cgnet import SOLVERS, CGNet, System, Weights


@SOLVERS.register("cgnet_zero")
class CGNetZero(CGNet):
    """CGNet with a U-Net that starts at zero, so each stage as the identity.

    What it sees is magnified to the size of its weights: Adam moves a bias by the learning rate
    whatever the signal's size.
    """

    gain = 5.0
    """responses of some hundredths become some tenths for the U-Net"""

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int):
        super().__init__(n_iter, in_nc, nf_p, nf_d, nf_n)
        for unet in self.unet:
            unet.start_at_zero()

    def correction(self, t: int, s: System, m: Weights, r: Tensor) -> Tensor:
        """What the U-Net adds to x, given the system's residual r; both (B, C, H, W)."""
        return super().correction(t, s, m, self.gain * r) / self.gain
