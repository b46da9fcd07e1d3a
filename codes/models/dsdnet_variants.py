"""DSDNet with parts that an option file chooses by name, such as `network_G: {preset: light, solver: fft}`.

1. VariantOptions adds the keys init, shrinkage, shrinkage_z, solver and nf_n to those of DSDNet.
2. build_dsdnet gets their values. If one differs from the paper's, it builds a DSDNetVariant.
3. DSDNetVariant looks the names up in INITIALISATIONS, SHRINKAGES and SOLVERS, where the classes are registered.
"""

from pydantic import Field, PositiveInt

from codes.models.paper.dsdnet import DSDNet, DSDNetOptions
from codes.models.paper.initialisation import INITIALISATIONS
from codes.models.paper.shrinkage import SHRINKAGES
from codes.models.paper.solver import SOLVERS
from codes.models.registry import NETWORKS, Entry


class VariantOptions(DSDNetOptions):
    """Keys of `network_G` for DSDNet, with those that exchange its parts; their defaults are the paper's."""

    nf_n: PositiveInt = Field(64, description="Width of NLNet in the solver.")
    init: str = Field("paper", description="Start of the iteration, x0: a name in INITIALISATIONS.")
    shrinkage: str = Field("maxout", description="Shrinkage function of v: a name in SHRINKAGES.")
    shrinkage_z: str | None = Field(None, description="Shrinkage function of z; not given: the same as `shrinkage`.")
    solver: str = Field("cgnet", description="Solver of the x-step: a name in SOLVERS.")


# The further keys, with the values of the paper.
PAPER = {
    key: field.default for key, field in VariantOptions.model_fields.items() if key not in DSDNetOptions.model_fields
}


class DSDNetVariant(DSDNet):
    """DSDNet with parts that are chosen by name. Raises UserError for an unknown name."""

    def __init__(self, *, nf_n: int, init: str, shrinkage: str, shrinkage_z: str | None, solver: str, **dsdnet):
        # DSDNet's constructor builds the parts from these classes.
        self.nf_n = nf_n
        self.initialisation_class = INITIALISATIONS[init]
        self.shrink_v_class = SHRINKAGES[shrinkage]
        self.shrink_z_class = SHRINKAGES[shrinkage_z or shrinkage]
        self.solver_class = SOLVERS[solver]
        super().__init__(**dsdnet)


def build_dsdnet(**arguments) -> DSDNet:
    """The paper's DSDNet, or a variant of it if a part is not the paper's."""
    parts = {key: arguments.pop(key, default) for key, default in PAPER.items()}
    return DSDNet(**arguments) if parts == PAPER else DSDNetVariant(**parts, **arguments)


NETWORKS.register("DSDNet")(Entry(build_dsdnet, VariantOptions))
