"""Types of the compiled core; src/_core.pyx says what each does."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

LEVELS: tuple[str, ...]
ALIGN: int
ROWS_AT_ONCE: int
MOST_THREADS: int

ACTIVATIONS: dict[str, int]
LOSSES: dict[str, int]
RULES: dict[str, int]
SLOTS: dict[str, int]
KINDS: dict[str, int]
LAYOUTS: dict[str, int]
INPUT_GRADIENTS: dict[str, int]
BATCH_WAYS: dict[str, int]

OPERATION: np.dtype[np.void]
NETWORK: np.dtype[np.void]
UPDATE: np.dtype[np.void]

_Real: TypeAlias = NDArray[Any]  # float32 or float64, the same in all arguments of a call
_Record: TypeAlias = NDArray[np.void] | np.void

class _Samples(Protocol):
    @property
    def X(self) -> _Real: ...
    @property
    def Y(self) -> _Real | None: ...
    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def weights(self) -> NDArray[np.float64] | None: ...
    @property
    def checked(self) -> bool: ...

class _Buffers(Protocol):
    @property
    def gradient(self) -> _Real | None: ...
    @property
    def average(self) -> _Real | None: ...
    @property
    def slots(self) -> Mapping[str, _Real]: ...
    @property
    def last_loss(self) -> NDArray[np.float64]: ...
    @property
    def workspace(self) -> _Real: ...

def simd_levels() -> tuple[str, ...]: ...
def simd_level() -> str: ...
def set_simd_level(name: str) -> None: ...
def first_nonfinite(values: _Real) -> int: ...
def activate(activation: int, alpha: float, z: _Real, a: _Real) -> None: ...
def standardize(X: _Real, mean: _Real, scale: _Real, out: _Real) -> None: ...
def record(dtype: np.dtype[np.void], **fields: Any) -> NDArray[np.void]: ...
def is_plain(update: _Record) -> bool: ...

class Program:
    in_blocks: bool
    forced_batches: str | None
    @property
    def operations(self) -> NDArray[np.void]: ...
    @property
    def network(self) -> NDArray[np.void]: ...
    @property
    def batches(self) -> str: ...
    @property
    def n_outputs(self) -> int: ...
    @property
    def n_activations(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    def __init__(self, operations: NDArray[np.void], network: _Record) -> None: ...
    def workspace_size(self, rows: int, n_threads: int = 1) -> int: ...
    def train(
        self,
        params: _Real,
        buffers: _Buffers,
        samples: _Samples,
        order: NDArray[np.int64] | None,
        update: _Record,
        rates: NDArray[np.float64],
        first_step: int,
        n_threads: int = 1,
    ) -> tuple[float, float, int, int]: ...
    def gradients(
        self,
        params: _Real,
        samples: _Samples,
        scale: float,
        gradient: _Real,
        workspace: _Real,
        activations: _Real | None = None,
        errors: _Real | None = None,
    ) -> float: ...
    def predict(self, params: _Real, X: _Real, out: _Real, workspace: _Real, n_threads: int = 1) -> None: ...
    def forward(self, params: _Real, X: _Real, activations: _Real) -> None: ...
    def evaluate(self, params: _Real, samples: _Samples, workspace: _Real) -> tuple[float, float]: ...

@final
class Training:
    @property
    def loss(self) -> float: ...
    @property
    def correct(self) -> float: ...
    @property
    def n_clipped(self) -> int: ...
    def __init__(
        self, program: Program, params: _Real, buffers: _Buffers, samples: _Samples, update: _Record
    ) -> None: ...
    def finite(self) -> bool: ...
    def learn(
        self,
        order: NDArray[np.int64] | None,
        start: int,
        stop: int,
        rates: NDArray[np.float64],
        first_step: int,
        n_threads: int = 1,
        checked: bool = False,
    ) -> int: ...

@final
class OneRow:
    rate: float
    n_steps: int
    def __init__(
        self, program: Program, params: _Real, workspace: _Real, scaling: list[_Real] | None = None
    ) -> None: ...
    def predict(self, x: Any) -> _Real | None: ...
    def learn(self, x: Any, y: Any, clip_delta: Any) -> float | None: ...

def embed(program: Program, params: _Real, workspace: _Real, scaling: tuple[_Real, _Real] | None = None) -> Any: ...
