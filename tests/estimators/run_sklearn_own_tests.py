"""Run scikit-learn's own tests of its MLPs against cmlp's.

    python tests/estimators/run_sklearn_own_tests.py [pytest arguments]

The tests are those of the installed release; `MLPClassifier` and `MLPRegressor` are put into `sklearn.neural_network`
and into the test module in place of scikit-learn's.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # not the tree beside this file, which has no compiled core
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder or ".") not in (here, os.path.dirname(here))]

import pytest
import sklearn
import sklearn.neural_network

import cmlp

MODULE = "sklearn.neural_network.tests.test_mlp"

# Tests that reach into private attributes, and the reason why they cannot pass. All others must.
PRIVATE = {
    "test_gradient": "calls `_loss_grad_lbfgs` with scikit-learn's own buffers of activations, deltas and gradients; "
    "cmlp's gradients are held against finite differences in test_gradients.py",
}


class Replacement:
    """The pytest plugin that swaps the classes before the tests are collected, and leaves out the private ones."""

    def pytest_configure(self, config: pytest.Config) -> None:
        for name in ("MLPClassifier", "MLPRegressor"):
            setattr(sklearn.neural_network, name, getattr(cmlp, name))

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        for item in items:
            module = item.module  # type: ignore[attr-defined]
            assert module.__name__ == MODULE
            assert module.MLPClassifier is cmlp.MLPClassifier
            assert module.MLPRegressor is cmlp.MLPRegressor
        private = [item for item in items if item.originalname in PRIVATE]  # type: ignore[attr-defined]
        config.hook.pytest_deselected(items=private)
        items[:] = [item for item in items if item not in private]


def main(arguments: list[str]) -> int:
    folder = os.path.dirname(sklearn.__file__)
    options = ["-p", "no:cacheprovider", "--pyargs", "-c", os.devnull, "--rootdir", folder]
    return int(pytest.main([*options, MODULE, *arguments], plugins=[Replacement()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
