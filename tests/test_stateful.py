"""Random programs of calls, right ones and wrong ones: nothing that is refused has changed anything."""

from __future__ import annotations

import pytest
from helpers.stateful import MACHINES, SETTINGS_OF_RUNS
from hypothesis.stateful import run_state_machine_as_test


@pytest.mark.parametrize("machine", MACHINES)
def test_random_programs(machine):
    run_state_machine_as_test(MACHINES[machine], settings=SETTINGS_OF_RUNS)
