"""Optional dependencies: imported where they are used, with an error that says how to get them."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

#: The package to import -> its name, its name on PyPI, and the extra of cmlp that has it, if one does.
EXTRAS: Final[dict[str, tuple[str, str, str]]] = {
    "pandas": ("pandas", "pandas", ""),
    "scipy": ("SciPy", "scipy", "scipy"),
    "sklearn": ("scikit-learn", "scikit-learn", "sklearn"),
}


def import_extra(module: str, what: str) -> Any:
    """Return a module of an optional dependency, which `what` needs.

    >>> import_extra("scipy.optimize", "LBFGS").__name__
    'scipy.optimize'
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:  # it is there, but lacks something of its own
            raise
        name, pypi, extra = EXTRAS[package]
        ways = f" (or pip install 'cmlp[{extra}]'; in a clone of the repository pip install '.[{extra}]')"
        raise ImportError(f"{name} is needed for {what}: pip install {pypi}{ways if extra else ''}") from error
