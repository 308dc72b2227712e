"""Optional dependencies that are missing."""

from __future__ import annotations

import sys
from importlib import metadata

import pytest

from cmlp._base.extras import EXTRAS, import_extra


def test_the_extras_are_those_of_the_package():
    provided = metadata.metadata("cmlp").get_all("Provides-Extra")
    required = metadata.requires("cmlp")
    for _, pypi, extra in EXTRAS.values():
        assert not extra or extra in provided
        assert any(
            line.startswith(f"{pypi}>=") and f'extra == "{extra or "test-without-torch"}"' in line for line in required
        )


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            "scipy.optimize",
            r"^SciPy is needed for rain: pip install scipy "
            r"\(or pip install 'cmlp\[scipy\]'; in a clone of the repository pip install '\.\[scipy\]'\)$",
        ),
        ("sklearn", r"^scikit-learn is needed for rain: pip install scikit-learn \(or pip install 'cmlp\[sklearn\]'"),
        ("pandas", "^pandas is needed for rain: pip install pandas$"),
    ],
)
def test_a_missing_one_is_named_with_the_ways_to_get_it(monkeypatch, module, message):
    for name in (module, module.partition(".")[0]):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=message):
        import_extra(module, "rain")


def test_one_that_is_there_but_broken_says_itself_what_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "scipy.py").write_text("import something_that_is_nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "scipy", raising=False)
    with pytest.raises(ModuleNotFoundError, match="No module named 'something_that_is_nowhere'"):
        import_extra("scipy", "rain")


def test_what_is_there_is_returned():
    import scipy.optimize

    assert import_extra("scipy.optimize", "rain") is scipy.optimize
