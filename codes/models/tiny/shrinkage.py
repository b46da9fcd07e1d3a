"""The shrinkage functions of DSDNetTiny: SoftMaxout with other weights at the start of training."""

from codes.models.soft_maxout import SoftMaxout


class IdentityMaxout(SoftMaxout):
    """A Maxout that starts close to the identity: it does not shrink yet."""

    threshold = 0.0
    weight_std = 0.001


class OutlierMaxout(SoftMaxout):
    """A Maxout that starts by passing only values that noise cannot explain: z starts at zero."""

    # 0.3 in the units of the image.
    threshold = 6.0
    weight_std = 0.001
