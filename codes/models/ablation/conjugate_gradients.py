"""The x-step by true conjugate gradients, in place of the learned CGNet."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from codes.models.paper.blur import Blur
from codes.models.paper.cgnet import SOLVERS, System, WeightedSolver
from codes.models.ablation.denoised_solver import Denoised

ITERATIONS = (1, 2, 3, 5, 10, 20)
"""Solvers of these numbers are registered: cg1, cg2, ..., and with a denoiser cg1_denoise, ..."""
LEAST_DIVISOR = 1e-30


class ConjugateGradients(WeightedSolver):
    """`iterations` conjugate-gradient steps, from the stage's x, on the x-step's normal equations.

    They are those of the least squares problem in the paper's objective, with CGNet's weights:

        min_x  m_n |m_p (Fx - (v - u_i))|^2 + |m_d (GHx - (Gy - z + u_j))|^2

    H' is the transpose of H, border and all. m_n is averaged over the image, without which the
    system would not be symmetric. The release weights the right-hand side by m_p and m_d, not by
    their squares: one step of CGNet can make up for that, a solution could not.
    """

    takes_mask = False

    def __init__(self, n_iter: int, in_nc: int, nf_p: int, nf_d: int, nf_n: int, iterations: int):
        super().__init__(n_iter, in_nc, nf_p, nf_d, nf_n)
        self.iterations = iterations

    def forward(self, t: int, s: System) -> Tensor:
        """The next x (B, C, H, W) of stage `t`."""
        m = self.weights(t, s)
        prior, data = m.prior.to(s.x.dtype).square(), m.data.to(s.x.dtype).square()
        image = m.image.to(s.x.dtype).mean((1, 2, 3), keepdim=True)
        H = Blur(s.H.kernel, s.H.size, s.H.border, exact_adjoint=True)

        def adjoint(a: Tensor, b: Tensor) -> Tensor:
            return image * s.F.adjoint(prior * a) + H.adjoint(s.G.adjoint(data * b))

        r = adjoint(s.prior_target - s.Fx, s.data_target - s.GHx)
        return conjugate_gradients(lambda p: adjoint(s.F(p), s.G(H(p))), s.x, r, self.iterations)


def conjugate_gradients(A: Callable[[Tensor], Tensor], x: Tensor, r: Tensor, iterations: int) -> Tensor:
    """Approach the solution of A x = b from `x`, whose residual b - A x is `r`.

    A is symmetric and positive semi-definite; x, r: (B, C, H, W), each image a system of its own.
    """
    p, square = r, _inner(r, r)
    for _ in range(iterations):
        Ap = A(p)
        step = square / _inner(p, Ap).clamp(min=LEAST_DIVISOR)
        x, r = x + step * p, r - step * Ap
        following = _inner(r, r)
        p, square = r + following / square.clamp(min=LEAST_DIVISOR) * p, following
    return x


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


for _iterations in ITERATIONS:
    _solver = partial(ConjugateGradients, iterations=_iterations)
    SOLVERS.register(f"cg{_iterations}")(_solver)
    SOLVERS.register(f"cg{_iterations}_denoise")(partial(Denoised, solver=_solver))
