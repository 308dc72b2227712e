"""Types of the compiled core; src/_core.pyx says what each does."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

LEVELS: tuple[str, ...]
ALIGN: int
ROWS_AT_ONCE: int
MOST_THREADS: int

_Real: TypeAlias = NDArray[Any]  # float32 or float64, the same in all arguments of a call

def simd_levels() -> tuple[str, ...]: ...
def simd_level() -> str: ...
def set_simd_level(name: str) -> None: ...
def first_nonfinite(values: _Real) -> int: ...
def activate(activation: int, alpha: float, z: _Real, a: _Real) -> None: ...
def standardize(X: _Real, mean: _Real, scale: _Real, out: _Real) -> None: ...

class Update:
    def __init__(
        self,
        *,
        batch_size: int = 1,
        mean: bool = True,
        clip_delta: float = ...,
        clip_value: float = ...,
        clip_norm: float = ...,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        rule: int = 0,
        nesterov: bool = False,
        amsgrad: bool = False,
        centered: bool = False,
        momentum: float = 0.0,
        beta1: float = 0.0,
        beta2: float = 0.0,
        eps: float = 0.0,
        increase: float = 0.0,
        decrease: float = 0.0,
        least: float = 0.0,
        most: float = 0.0,
        weighted_mean: bool = False,
        alpha: float = 0.0,
        loss_scale: float = 1.0,
        eps_hat: bool = False,
        l1: float = 0.0,
        max_norm: float = ...,
        average_decay: float | None = None,
        dropout_seed: int | None = None,
    ) -> None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def mean(self) -> bool: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def l1(self) -> float: ...
    @property
    def is_plain(self) -> bool: ...

class Program:
    in_blocks: bool
    @property
    def n_outputs(self) -> int: ...
    @property
    def n_activations(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def width(self) -> int: ...
    def __init__(
        self,
        ops: Sequence[Any],
        *,
        n_inputs: int,
        n_outputs: int,
        n_activations: int,
        n_parameters: int,
        n_deltas: int,
        width: int,
        x_stride: int,
        output: int,
        loss: int,
        loss_parameter: float,
        fused: bool,
        in_blocks: bool,
    ) -> None: ...
    def workspace_size(self, rows: int, n_threads: int = 1) -> int: ...
    def train(
        self,
        params: _Real,
        X: _Real,
        Y: _Real | None,
        labels: NDArray[np.int64] | None,
        order: NDArray[np.int64] | None,
        weights: NDArray[np.float64] | None,
        rates: NDArray[np.float64],
        first_step: int,
        update: Update,
        state: tuple[_Real, ...],
        last_loss: NDArray[np.float64],
        gradient: _Real | None,
        workspace: _Real,
        n_threads: int = 1,
        average: _Real | None = None,
        check_x: bool = False,
    ) -> tuple[float, int, int]: ...
    def gradients(
        self,
        params: _Real,
        X: _Real,
        Y: _Real | None,
        labels: NDArray[np.int64] | None,
        weights: NDArray[np.float64] | None,
        scale: float,
        gradient: _Real,
        activations: _Real | None,
        errors: _Real | None,
        workspace: _Real,
    ) -> float: ...
    def predict(self, params: _Real, X: _Real, out: _Real, workspace: _Real, n_threads: int = 1) -> None: ...
    def forward(self, params: _Real, X: _Real, activations: _Real) -> None: ...
    def evaluate(
        self,
        params: _Real,
        X: _Real,
        Y: _Real | None,
        labels: NDArray[np.int64] | None,
        weights: NDArray[np.float64] | None,
        workspace: _Real,
    ) -> tuple[float, float]: ...

class OneRow:
    rate: float
    def __init__(
        self, program: Program, parameters: _Real, workspace: _Real, scaling: list[_Real] | None = None
    ) -> None: ...
    def predict(self, x: Any) -> _Real | None: ...
    def learn(self, x: Any, y: Any, clip_delta: Any) -> float | None: ...

def embed(program: Program, parameters: _Real, workspace: _Real, scaling: tuple[_Real, _Real] | None = None) -> Any: ...
