"""Optimizer steps in NumPy: the readable specification of `kernels/updates.cuh`.

`Update` in entries.py says what each function is given; ``scratch(i)`` is the i-th temporary array
of the same length.
"""

from __future__ import annotations

import numpy as np

from gpubp.backends.formulas.entries import Floats, Temporaries, Update


def sgd(g: Floats, p: Floats, rate: float, scratch: Temporaries) -> None:
    """p -= rate g."""
    step = scratch(0)
    np.multiply(g, rate, out=step)
    p -= step


def momentum(
    g: Floats, p: Floats, velocity: Floats, rate: float, decay: float, scratch: Temporaries
) -> None:
    """v = decay v + g; p -= rate v."""
    velocity *= decay
    velocity += g
    sgd(velocity, p, rate, scratch)


def nesterov(
    g: Floats, p: Floats, velocity: Floats, rate: float, decay: float, scratch: Temporaries
) -> None:
    """v = decay v + g; p -= rate (g + decay v)."""
    velocity *= decay
    velocity += g
    ahead = scratch(1)
    np.multiply(velocity, decay, out=ahead)
    ahead += g
    sgd(ahead, p, rate, scratch)


def rmsprop(
    g: Floats,
    p: Floats,
    square: Floats,
    rate: float,
    decay: float,
    epsilon: float,
    scratch: Temporaries,
) -> None:
    """s = decay s + (1 - decay) g^2; p -= rate g / (sqrt(s) + epsilon)."""
    size, step = scratch(0), scratch(1)
    np.multiply(g, g, out=size)
    size *= 1 - decay
    square *= decay
    square += size
    np.sqrt(square, out=size)
    size += epsilon
    np.multiply(g, rate, out=step)
    step /= size
    p -= step


def adagrad(
    g: Floats, p: Floats, square: Floats, rate: float, epsilon: float, scratch: Temporaries
) -> None:
    """s += g^2; p -= rate g / (sqrt(s) + epsilon)."""
    size, step = scratch(0), scratch(1)
    np.multiply(g, g, out=size)
    square += size
    np.sqrt(square, out=size)
    size += epsilon
    np.multiply(g, rate, out=step)
    step /= size
    p -= step


def lion(
    g: Floats,
    p: Floats,
    moment: Floats,
    rate: float,
    beta1: float,
    beta2: float,
    shrink: float,
    scratch: Temporaries,
) -> None:
    """p = shrink p - rate sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g."""
    scaled, sign = scratch(0), scratch(1)
    np.multiply(g, 1 - beta1, out=scaled)
    np.multiply(moment, beta1, out=sign)
    sign += scaled
    np.sign(sign, out=sign)
    sign *= rate
    p *= shrink
    p -= sign
    np.multiply(g, 1 - beta2, out=scaled)
    moment *= beta2
    moment += scaled


def _moments(
    g: Floats,
    moment1: Floats,
    moment2: Floats,
    beta1: float,
    beta2: float,
    epsilon: float,
    root: float,
    size: Floats,
    step: Floats,
) -> None:
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; size = root sqrt(v) + epsilon."""
    np.multiply(g, 1 - beta1, out=step)
    moment1 *= beta1
    moment1 += step
    np.multiply(g, g, out=size)
    size *= 1 - beta2
    moment2 *= beta2
    moment2 += size
    np.sqrt(moment2, out=size)
    size *= root
    size += epsilon


def nadam(
    g: Floats,
    p: Floats,
    moment1: Floats,
    moment2: Floats,
    rate_g: float,
    rate_m: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    root: float,
    scratch: Temporaries,
) -> None:
    """p -= (rate_g g + rate_m m) / (root sqrt(v) + epsilon)."""
    size, step, ahead = scratch(0), scratch(1), scratch(2)
    _moments(g, moment1, moment2, beta1, beta2, epsilon, root, size, step)
    np.multiply(g, rate_g, out=step)
    np.multiply(moment1, rate_m, out=ahead)
    step += ahead
    step /= size
    p -= step


def adam(
    g: Floats,
    p: Floats,
    moment1: Floats,
    moment2: Floats,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    root: float,
    shrink: float,
    scratch: Temporaries,
) -> None:
    """p = shrink p - rate m / (root sqrt(v) + epsilon)."""
    size, step = scratch(0), scratch(1)
    _moments(g, moment1, moment2, beta1, beta2, epsilon, root, size, step)
    np.multiply(moment1, rate, out=step)
    step /= size
    p *= shrink
    p -= step


UPDATES: dict[str, Update] = {
    update.name: update
    for update in (
        Update("sgd", sgd, state=(), scalars=("rate",)),
        Update("momentum", momentum, state=("velocity",), scalars=("rate", "decay")),
        Update("nesterov", nesterov, state=("velocity",), scalars=("rate", "decay")),
        Update(
            "rmsprop",
            rmsprop,
            state=("square",),
            scalars=("rate", "decay", "epsilon"),
            in_double=("decay",),
        ),
        Update("adagrad", adagrad, state=("square",), scalars=("rate", "epsilon")),
        Update(
            "lion",
            lion,
            state=("moment",),
            scalars=("rate", "beta1", "beta2", "shrink"),
            in_double=("beta1", "beta2"),
        ),
        Update(
            "nadam",
            nadam,
            state=("moment1", "moment2"),
            scalars=("rate_g", "rate_m", "beta1", "beta2", "epsilon", "root"),
            in_double=("beta1", "beta2"),
        ),
        Update(
            "adam",
            adam,
            state=("moment1", "moment2"),
            scalars=("rate", "beta1", "beta2", "epsilon", "root", "shrink"),
            in_double=("beta1", "beta2"),
        ),
    )
}
