"""The filter banks against torch's convolutions, at sizes that fill no pack, and their gradients."""

import pytest
import torch
import torch.nn.functional as nnf

from codes.models.paper.filters import Filters


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(9, 7), (33, 46), (1, 1), (20, 4), (5, 6), (3, 13)])
@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (3, 1), (3, 5), (1, 8)])
def test_equal_to_torchs_convolutions(channels, filters, size, layout):
    F = Filters(channels, filters).double().to(memory_format=layout)
    x = torch.randn(2, channels, *size, dtype=torch.float64).contiguous(memory_format=layout)
    a = torch.randn(2, filters, *size, dtype=torch.float64).contiguous(memory_format=layout)
    torch.testing.assert_close(F(x), nnf.conv2d(x, F.weight, padding=3))
    torch.testing.assert_close(F.adjoint(a), nnf.conv_transpose2d(a, F.weight, padding=3))
    torch.testing.assert_close((F(x) * a).sum(), (x * F.adjoint(a)).sum())


def test_gradients():
    F = Filters(3, 5).double()
    x = torch.randn(1, 3, 6, 9, dtype=torch.float64, requires_grad=True)
    a = torch.randn(1, 5, 6, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(F, (x,))
    assert torch.autograd.gradcheck(F.adjoint, (a,))

    def by_weight(weight):
        bank = {"weight": weight}
        responses = torch.func.functional_call(F, bank, (x.detach(),))
        back = torch.func.functional_call(_Adjoint(F), {"F.weight": weight}, (a.detach(),))
        return responses, back

    assert torch.autograd.gradcheck(by_weight, (F.weight.detach().requires_grad_(),))


class _Adjoint(torch.nn.Module):
    def __init__(self, F):
        super().__init__()
        self.F = F

    def forward(self, a):
        return self.F.adjoint(a)
