"""What an x-step gets, and the base class of the modules that solve it.

The x-step of the paper solves (F'F + H'G'GH) x = F'(v - u_i) + H'G'(Gy - z + u_j). The paper's solver is CGNet in
cgnet.py; others can be registered here under a name.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from codes.models.paper.blur import Blur
from codes.models.paper.filters import Filters
from codes.utils.registry import Registry

SOLVERS: Registry[type["Solver"]] = Registry("solver")


@dataclass(frozen=True)
class Problem:
    """What stays the same in all stages.

    y: blurry images (B, C, H, W), 0 at masked pixels. H: their blur. mask: None, or (B, C, H, W), 1 at valid pixels.
    """

    y: Tensor
    H: Blur
    mask: Tensor | None = None


class Weights(NamedTuple):
    """m_p (B, N, H, W), m_d (B, M, H, W) and m_n (B, C, H, W), which weight the two sides of the system.

    m_p and m_d may also be single numbers, as in CGNetPlus.
    """

    m_p: Tensor
    m_d: Tensor
    m_n: Tensor


@dataclass(kw_only=True)
class System:
    """The linear system of one x-step, with what the v- and z-steps have computed already.

    x: (B, C, H, W), the x of the last stage. Fx: (B, N, H, W). GHx: (B, M, H, W).
    prior_target: v - u_i, (B, N, H, W). data_target: Gy - z + u_j, (B, M, H, W).
    """

    problem: Problem
    F: Filters
    G: Filters
    x: Tensor
    Fx: Tensor
    GHx: Tensor
    prior_target: Tensor
    data_target: Tensor

    def adjoint(self, m: Weights, a: Tensor, b: Tensor) -> Tensor:
        """Ad(a, b) = m_n F'(m_p a) + H'G'(m_d b): (B, N, H, W), (B, M, H, W) -> (B, C, H, W)."""
        return m.m_n * self.F.adjoint(m.m_p * a) + self.problem.H.adjoint(self.G.adjoint(m.m_d * b))

    def residual(self, m: Weights) -> Tensor:
        """r = Ad(v - u_i, Gy - z + u_j) - A x in one pass, since A x = Ad(m_p Fx, m_d GHx)."""
        return self.adjoint(m, self.prior_target - m.m_p * self.Fx, self.data_target - m.m_d * self.GHx)

    def free_responses(self) -> None:
        """Delete Fx, GHx and both targets when a solver needs them no more; without gradients this frees memory."""
        del self.Fx, self.GHx, self.prior_target, self.data_target


class Solver(nn.Module):
    """Base class: `Solver(n_iter, in_nc, nf_p, nf_d, nf_n)` is built once, `solver(t, system)` is called per stage.

    `forward(t, system)` returns the x (B, C, H, W) of stage t + 1. nf_n: width of NLNet, if the solver has one.
    """

    # True if the solver uses `system.problem.mask`.
    takes_mask = False
