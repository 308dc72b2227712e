"""Random programs of calls, right and wrong: what is refused has changed nothing. tools/stateful.py runs more."""

from __future__ import annotations

import hypothesis
import pytest
from helpers.stateful import MACHINES, SETTINGS_OF_RUNS
from hypothesis.stateful import run_state_machine_as_test


@pytest.mark.parametrize(("machine", "programs"), [("Networks", 150), ("Estimators", 50)])
def test_random_programs(machine, programs):
    settings = hypothesis.settings(SETTINGS_OF_RUNS, max_examples=programs)
    run_state_machine_as_test(MACHINES[machine], settings=settings)
