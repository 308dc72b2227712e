"""Saving survives kills and disks that fail; tools/kill_saves.py does the same for longer."""

import pytest
from helpers.saves import TROUBLES, kill_savers, unnamed_files


@pytest.mark.parametrize("unnamed", [True, False])
def test_killed_savers_leave_the_old_file_or_the_new_one(unnamed, tmp_path):
    result = kill_savers(str(tmp_path), 4, unnamed=unnamed)
    assert result.findings == []
    assert result.kills == 4


@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
def test_a_save_that_fails_says_so_once_and_leaves_nothing(trouble, unnamed, tmp_path):
    with unnamed_files(unnamed):
        assert trouble(str(tmp_path))
