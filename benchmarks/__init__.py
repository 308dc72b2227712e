"""Side-by-side comparisons of cmlp and its rivals, one file a question: `python -m benchmarks`.

Importing this package, before anything else, holds every library to one thread and makes sure that the installed
cmlp is measured, not a source tree without its compiled core.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

for _variable in (
    "OMP_NUM_THREADS",  # PyTorch, ONNX Runtime's and scikit-learn's OpenMP
    "OPENBLAS_NUM_THREADS",  # NumPy and SciPy
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",  # the size of XLA's thread pool
):
    os.environ[_variable] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "Agg"

if not list((ROOT / "cmlp").glob("_core*.so")):
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != ROOT]
