"""DSDNet with parts that an option file chooses by name: x0, shrinkage functions and x-step."""

from functools import partial

from pydantic import Field, PositiveInt

from codes.models.paper.cgnet import SOLVERS
from codes.models.paper.dsdnet import DSDNet, DSDNetOptions
from codes.models.paper.initialisation import INITIALISATIONS
from codes.models.paper.shrinkage import SHRINKAGES
from codes.models.registry import register_variant


class ExchangedOptions(DSDNetOptions):
    """Keys of `network_G` for DSDNet, with those that exchange its parts; their defaults are the paper's."""

    nf_n: PositiveInt = Field(64, description="Width of NLNet in the x-step.")
    init: str = Field("paper", description="Start of the iteration, x0: a name in INITIALISATIONS.")
    shrinkage: str = Field("maxout", description="Shrinkage function of v: a name in SHRINKAGES.")
    shrinkage_z: str | None = Field(None, description="Shrinkage function of z; not given: the same as `shrinkage`.")
    solver: str = Field("cgnet", description="The x-step: a name in SOLVERS.")


@register_variant("DSDNet", ExchangedOptions)
class ExchangedDSDNet(DSDNet):
    """DSDNet with parts that are chosen by name. Raises UserError for an unknown name."""

    def __init__(
        self,
        nf_n: int = 64,
        init: str = "paper",
        shrinkage: str = "maxout",
        shrinkage_z: str | None = None,
        solver: str = "cgnet",
        **dsdnet,
    ):
        self.x0_part = INITIALISATIONS[init]
        self.shrinkage_v, self.shrinkage_z = SHRINKAGES[shrinkage], SHRINKAGES[shrinkage_z or shrinkage]
        self.x_step = partial(SOLVERS[solver], nf_n=nf_n)
        super().__init__(**dsdnet)
        self.takes_mask = self.solver.takes_mask
