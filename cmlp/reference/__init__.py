"""The mathematics of cmlp in plain NumPy, written for reading.

It is the oracle of the compiled core's tests, and the pure-NumPy side of the benchmarks: each formula in the
shortest form that wastes no time.

===============  =======================================================================================
`functions`      activations and losses, each with its derivative
`chain`          plain chains of layers: forward, backward, predict, and train by gradient descent
`steps`          what a gradient does to the parameters: clipping, and the step of every optimiser
`composition`    any composition of layers: forward, gradients, dropout
===============  =======================================================================================

Symbols, for the layers k = 1..N of a chain:

========================  =======================================================  =========================
W_k, b_k                  weights and bias                                         (n_{k-1}, n_k) and (n_k,)
z_k = W_kᵀ a_{k-1} + b_k  net input                                                (n_k,)
a_k = f_k(z_k)            activation; a_0 = x is the sample, a_N = ŷ the output    (n_k,)
ℓ, δ_k = ∂ℓ/∂z_k          loss of a sample, and the error terms                    scalar and (n_k,)
γ_t, ψ                    learning rate at step t, clipping threshold on δ         scalars
========================  =======================================================  =========================

A sample is (n,), a block of B samples (B, n), and the functions take either: Wᵀa reads ``a.dot(W)`` and Wδ
reads ``delta.dot(W.T)``. Lists start at 0: ``weights[k - 1]`` is W_k, ``zs[k - 1]`` is z_k, but ``as_[k]`` is
a_k. Everything is computed in the dtype of the arrays passed in. Numbers beyond it become inf or NaN, as in the core,
without NumPy's warnings.

Examples
--------
The logical AND as one sigmoid neuron, σ(−30 + 20 x₁ + 20 x₂):

>>> W, b = np.array([[20.0], [20.0]]), np.array([-30.0])
>>> predict([W], [b], ["sigmoid"], [[0, 0], [0, 1], [1, 0], [1, 1]]).round(4).ravel().tolist()
[0.0, 0.0, 0.0, 1.0]
"""

from cmlp.reference.chain import backward, forward, predict, train
from cmlp.reference.composition import dropout_mask, network_forward, network_gradients
from cmlp.reference.functions import SELU_ALPHA, SELU_SCALE, activate, activation_vjp, loss_and_delta

__all__ = [
    "SELU_ALPHA",
    "SELU_SCALE",
    "activate",
    "activation_vjp",
    "backward",
    "dropout_mask",
    "forward",
    "loss_and_delta",
    "network_forward",
    "network_gradients",
    "predict",
    "train",
]
