"""Builds the compiled core, cmlp._core, from src/; everything else is said in pyproject.toml."""

import os
import sys

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

# The compiler reads these after the builder's own CFLAGS, and the last word wins: numbers are right, whatever is there.
# Fast mathematics would take NaN and infinity for impossible and, linked, change how the whole process rounds.
compile_args = [
    "-std=gnu17",
    "-fno-fast-math",
    "-pthread",
    "-fopenmp-simd",  # `omp simd` loops only: no OpenMP run time
    "-fno-trapping-math",  # lets comparisons become selects
    "-fno-math-errno",
    "-ffp-contract=fast",  # a * b + c is one fused multiply-add where the machine has it
    "-Wno-psabi",  # vectors wider than the baseline's never cross an object's border
]
link_args = ["-fno-fast-math", "-fno-unsafe-math-optimizations"]
asked = os.environ.get("CFLAGS", "").split()
if not {"-O0", "-O1", "-Og", "-Os"} & set(asked):  # -O2 is what distributions say for everything
    compile_args += ["-O3"]
    link_args += ["-O3"]  # else -Ofast would link its start-up code
if not any(flag.startswith("-g") for flag in asked):  # a small shared object
    compile_args += ["-g0"]
    link_args += ["-Wl,--strip-all"] if sys.platform == "linux" else []
macros = [("CYTHON_CLINE_IN_TRACEBACK", "0"), ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]
if os.environ.get("CMLP_WERROR"):  # continuous integration: every warning is an error
    compile_args += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-cast-function-type"]
    if not os.environ.get("CMLP_EMULATE_AVX512"):  # whose vectors of two registers each spill
        compile_args += ["-Wframe-larger-than=4096"]  # threads may have 64 KiB of stack in all
    from Cython.Compiler import Options

    Options.warning_errors = True
if os.environ.get("CMLP_EMULATE_AVX512"):  # tests: run the 64-byte kernels on a processor without AVX-512
    macros += [("CMLP_EMULATE_AVX512", "1")]
sanitizers = {"thread": "thread", "1": "address,undefined"}.get(os.environ.get("CMLP_SANITIZE", ""))
if sanitizers:  # tools/sanitize: the first wrong access or undefined operation ends the run; tools/races
    link_args = [f"-fsanitize={sanitizers}"]
    compile_args += [*link_args, "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-O1", "-g"]
coverage = bool(os.environ.get("CMLP_COVERAGE"))
if coverage:  # lines of the .pyx are traced; Cython's coverage plugin wants the generated C beside its source
    compile_args += ["-O1"]
    macros += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]
if sys.platform == "win32":
    raise SystemExit("cmlp does not run on Windows yet, but in WSL: see docs/releasing.md")

core = Extension(
    "cmlp._core",
    sources=["src/_core.pyx", "src/kernels/kernels.c", "src/kernels/threads.c"],
    include_dirs=["src", "cmlp", numpy.get_include()],
    libraries=["m"],
    define_macros=macros,
    extra_compile_args=compile_args,
    extra_link_args=link_args,
)

setup(
    ext_modules=cythonize(
        [core],
        build_dir=None if coverage else "build/cython",
        include_path=["src"],
        compiler_directives={"linetrace": coverage, "auto_pickle": False, "autotestdict": False},
        force=True,
    ),
    # Always compile: build/ may hold objects that other switches made, which a check of dates would take for new.
    options={"build_ext": {"force": True}},
)
