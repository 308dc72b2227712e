"""Builds the compiled core, cmlp._core, from src/; everything else is said in pyproject.toml."""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

compile_args = [
    "-std=gnu17",
    "-O3",
    "-fopenmp-simd",  # `omp simd` loops only: no OpenMP run time
    "-fno-trapping-math",  # lets comparisons become selects
    "-fno-math-errno",
    "-ffp-contract=fast",  # a * b + c is one fused multiply-add where the machine has it
    "-g0",  # a small shared object
    "-Wno-psabi",  # vectors wider than the baseline's never cross an object's border
]
macros = [("CYTHON_CLINE_IN_TRACEBACK", "0")]
if os.environ.get("CMLP_WERROR"):  # continuous integration: every warning is an error
    compile_args += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-cast-function-type"]
    from Cython.Compiler import Options

    Options.warning_errors = True
if os.environ.get("CMLP_EMULATE_AVX512"):  # tests: run the 64-byte kernels on a processor without AVX-512
    macros += [("CMLP_EMULATE_AVX512", "1")]
if sys.platform == "win32":
    raise SystemExit("cmlp's kernels need gcc or clang (with MinGW or WSL on Windows)")

core = Extension(
    "cmlp._core",
    sources=["src/_core.pyx", "src/kernels/kernels.c"],
    depends=["src/kernels.pxd", *(f"src/kernels/{name}.h" for name in ("kernels", "body", "vector"))],
    include_dirs=["src"],
    libraries=["m"],
    define_macros=macros,
    extra_compile_args=compile_args,
)

setup(ext_modules=cythonize([core], build_dir="build/cython", include_path=["src"]))
