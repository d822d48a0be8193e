"""Numbers embedded by waves: the specification of `kernels/periodic.cuh`.

The layer's formulas, and what its `waves` hold, are in `gpubp.nn.layers.periodic`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.scratch import Array

TURN = 2 * np.pi


class ArrayPeriodic:
    """See `gpubp.backends.protocol.PeriodicEmbeddings`."""

    def embed_periodic(
        self,
        x: Array,
        waves: Any,
        frequency: Array,
        phase: Array,
        weight: Array,
        bias: Array,
        wave: Array,
        y: Array,
    ) -> None:
        numbers = x[:, waves.passing :, None]
        angle = TURN * frequency * numbers + phase
        wave[...] = np.concatenate([np.cos(angle), np.sin(angle)], axis=2).reshape(wave.shape)
        linear = _each(_read(wave, weight, waves), _maps(weight, waves)) + bias
        made = np.concatenate([numbers, linear], 2) if waves.beside else np.maximum(linear, 0)
        y[:, : waves.passing] = x[:, : waves.passing]
        y[:, waves.passing :] = made.reshape(len(x), -1)

    def embed_periodic_backward(
        self,
        x: Array,
        waves: Any,
        weight: Array,
        wave: Array,
        y: Array,
        dy: Array,
        dfrequency: Array,
        dphase: Array,
        dweight: Array,
        dbias: Array,
    ) -> None:
        error = _error(waves, y, dy)
        dbias[...] = error.sum(axis=0)
        read = _read(wave, weight, waves)
        dweight[...] = (read.transpose(1, 2, 0) @ error.transpose(1, 0, 2)).reshape(dweight.shape)
        dangle = _by_angle(waves, weight, wave, error)
        dphase[...] = dangle.sum(axis=0)
        dfrequency[...] = TURN * (x[:, waves.passing :, None] * dangle).sum(axis=0)

    def embed_periodic_slope(
        self,
        waves: Any,
        frequency: Array,
        weight: Array,
        wave: Array,
        y: Array,
        dy: Array,
        dx: Array,
    ) -> None:
        dangle = _by_angle(waves, weight, wave, _error(waves, y, dy))
        dx[:, : waves.passing] = dy[:, : waves.passing]
        dx[:, waves.passing :] = TURN * (dangle * frequency).sum(axis=2)
        if waves.beside:
            dx[:, waves.passing :] += _embedded(waves, dy)[:, :, 0]


def _maps(weight: Array, waves: Any) -> Array:
    """Return the linear maps, (numbers, waves, outputs of one)."""
    return weight.reshape(waves.numbers, -1, weight.shape[1])


def _read(wave: Array, weight: Array, waves: Any) -> Array:
    """Return the waves that the linear maps read, (rows, numbers, waves)."""
    whole = wave.reshape(len(wave), waves.numbers, -1)
    return whole[:, :, : len(weight) // waves.numbers]


def _each(of_rows: Array, maps: Array) -> Array:
    """Return the product for each number: (rows, numbers, a) by (numbers, a, b)."""
    return (of_rows.transpose(1, 0, 2) @ maps).transpose(1, 0, 2)


def _embedded(waves: Any, y: Array) -> Array:
    """Return what the numbers became, (rows, numbers, width)."""
    return y[:, waves.passing :].reshape(len(y), waves.numbers, waves.width)


def _error(waves: Any, y: Array, dy: Array) -> Array:
    """Return the gradient by the linear maps' outputs, (rows, numbers, outputs of one)."""
    if waves.beside:
        return _embedded(waves, dy)[:, :, 1:]
    return _embedded(waves, dy) * (_embedded(waves, y) > 0)


def _by_angle(waves: Any, weight: Array, wave: Array, error: Array) -> Array:
    """Return the gradient by the angles, (rows, numbers, frequencies)."""
    whole = wave.reshape(len(wave), waves.numbers, -1)
    cos, sin = whole[:, :, : waves.frequencies], whole[:, :, waves.frequencies :]
    by_wave = _each(error, _maps(weight, waves).transpose(0, 2, 1))
    dangle = -sin * by_wave[:, :, : waves.frequencies]
    return dangle if waves.beside else dangle + cos * by_wave[:, :, waves.frequencies :]
