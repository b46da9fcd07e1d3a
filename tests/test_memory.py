"""The meter of peak memory."""

import numpy as np
import pytest
import torch

from codes.utils.memory import peak_memory

CPU = torch.device("cpu")


def test_peak_is_seen_though_freed_and_forgotten_by_the_next_block() -> None:
    with peak_memory(CPU) as before:
        pass
    if before.mib is None:
        pytest.skip("this system does not tell a process's peak memory")
    with peak_memory(CPU) as large:
        held = np.ones(40 * 2**20, np.float32)  # 160 MiB, every page touched
        del held
    with peak_memory(CPU) as after:
        pass
    assert large.mib - before.mib == pytest.approx(160, abs=20)
    assert large.mib - after.mib > 130
