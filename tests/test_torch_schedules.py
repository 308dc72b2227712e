"""Learning-rate schedules against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmlp.schedules import CosineRestarts, Exponential, LinearWarmup, OneCycle, Schedule, StepDecay


def torch_rates(make, n):
    """Return the first n rates of a PyTorch scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (StepDecay(0.5, 7), lambda s, o: s.StepLR(o, 7)),
        (Exponential(0.5, 0.97), lambda s, o: s.ExponentialLR(o, 0.97)),
        (CosineRestarts(0.5, 7, 2, 0.01), lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, 2, 0.01)),
        (CosineRestarts(0.5, 9), lambda s, o: s.CosineAnnealingWarmRestarts(o, 9)),
        (LinearWarmup(0.5, 8), lambda s, o: s.LinearLR(o, 1 / 8, total_iters=7)),
        (OneCycle(0.5, 100), lambda s, o: s.OneCycleLR(o, 0.5, 100)),
        (
            OneCycle(0.5, 99, 0.41, 10.0, 50.0),
            lambda s, o: s.OneCycleLR(o, 0.5, 99, pct_start=0.41, div_factor=10, final_div_factor=50),
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, Schedule) else "",
)
def test_against_pytorch(schedule, make):
    rates = np.broadcast_to(schedule.rates(0, 99, 0), 99)  # one where they are constant
    np.testing.assert_allclose(rates, torch_rates(make, 99), rtol=1e-9)
