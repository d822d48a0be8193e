"""Numbers embedded by waves: each becomes several that are linear in waves of trained frequencies.

"pbld": y = (x, cos(2 pi w x + b) A + c)
    Holzmueller, Grinsztajn and Steinwart 2024, "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data" (RealMLP): x itself, then a linear map of waves with a phase.
"plr": y = relu((cos(2 pi w x), sin(2 pi w x)) A + c)
    Gorishniy, Rubachev and Babenko 2022, "On embeddings for numerical features in tabular deep
    learning".

Every number has frequencies w, a map A and a bias c of its own, all trained, as are the phases b.
With the angle a = 2 pi w x + b, the error e = relu'(y) dy and g = e A^T:
    dA = waves^T e,  dc = e,  da = cos(a) g_sin - sin(a) g_cos,  db = da,  dw = 2 pi x da
summed over the rows, and dx = 2 pi da w, summed over the waves, with dy itself where y holds x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpubp.backends import Array, Scratch
from gpubp.checks import check_positive, checked_name, checked_whole
from gpubp.errors import ConfigurationError
from gpubp.nn.layers.layer import Layer, LayerArrays, Room, Shapes, placed


@dataclass(frozen=True)
class Periodic:
    """The settings of an embedding of numbers by waves; see `gpubp.nn.layers.periodic`.

    Attributes
    ----------
    kind : {"pbld", "plr"}
        A linear map of cosines with a phase, and the number itself; or a linear map of cosines and
        sines, rectified.
    frequencies : int
        Of each number.
    width : int
        Numbers that a number becomes; with "pbld" one of them is itself.
    sigma : float
        Deviation of the first frequencies, which are drawn normally. The finer the detail that the
        target shows, the larger it is to be.

    Raises
    ------
    ConfigurationError
        When a setting is unknown or out of its range.
    """

    kind: str = "pbld"
    frequencies: int = 16
    width: int = 4
    sigma: float = 0.1

    def __post_init__(self) -> None:
        checked_name("kind of periodic embedding", self.kind, ("pbld", "plr"))
        checked_whole("frequencies", self.frequencies)
        if checked_whole("width", self.width) <= self.beside:
            raise ConfigurationError(f"width is {self.width}; 2 or more are needed for 'pbld'")
        check_positive(sigma=self.sigma)

    @property
    def beside(self) -> int:
        """How many of the numbers that one becomes are itself: 1 or 0."""
        return int(self.kind == "pbld")

    @property
    def waves(self) -> int:
        """How many waves the linear map reads: cosines, or cosines and sines."""
        return self.frequencies if self.beside else 2 * self.frequencies


class Waves(NamedTuple):
    """What the operations of a backend know of the embedding.

    Attributes
    ----------
    passing, numbers : int
        Columns of x that pass as they are, in front, and those behind that are embedded.
    frequencies, width : int
        Of each number, and what it becomes.
    beside : int
        1 where the first of these is the number itself ("pbld"), 0 where all are rectified ("plr").
    """

    passing: int
    numbers: int
    frequencies: int
    width: int
    beside: int


@dataclass
class PeriodicArrays(LayerArrays):
    """The layer's arrays of one batch; see `LayerArrays`.

    `wave`, (rows, numbers * 2 frequencies), holds the cosines and then the sines of each number.
    """

    y: Array
    delta: Array
    wave: Array
    x: Array = None

    @property
    def z(self) -> Array:
        """The outputs, which are kept instead of what is rectified."""
        return self.y

    def first(self, rows: int) -> PeriodicArrays:
        """Return views of the first rows."""
        cut = {name: getattr(self, name)[:rows] for name in ("y", "delta", "wave")}
        return replace(self, **cut, x=None)


class PeriodicEmbedding(Layer):
    """The embedding of all inputs but the first ones, which pass as they are.

    Parameters
    ----------
    passing, inputs : int
        How many inputs pass, and how many there are.
    settings : Periodic
        What the others become.

    Attributes
    ----------
    frequency, phase : array, (numbers, frequencies)
        w and b; no b with "plr".
    weight : array, (numbers * waves, width without the number itself)
        A, of all numbers one behind the other.
    bias : array, (numbers, width without the number itself)
        c.
    """

    kind = "periodic embedding of numbers"
    frequency: Array
    dfrequency: Array
    phase: Array
    dphase: Array

    def __init__(
        self, passing: int, inputs: int, settings: Periodic, backend: Any, scratch: Scratch
    ) -> None:
        numbers, self.settings, self.scratch = inputs - passing, settings, scratch
        self.inputs, self.outputs = inputs, passing + numbers * settings.width
        self.waves = Waves(passing, numbers, settings.frequencies, settings.width, settings.beside)
        self._backend = backend

    def forward(self, ops: Any, x: Array, p: PeriodicArrays, logits: bool = False) -> Array:
        """Return what passes, and (x, cos(a) A + c) or relu((cos(a), sin(a)) A + c)."""
        p.x = x
        ops.embed_periodic(
            *(x, self.waves, self.frequency, self.phase),
            *(self.weight, self.bias, p.wave, p.y),
        )
        return p.y

    def backward(
        self,
        ops: Any,
        p: PeriodicArrays,
        dx: Array | None,
        logits: bool = False,
        gradients: bool = True,
    ) -> None:
        """Write dA, dc, dw and db, summed over the rows, and dx."""
        if gradients:
            ops.embed_periodic_backward(
                *(p.x, self.waves, self.weight, p.wave, p.y, p.delta),
                *(self.dfrequency, self.dphase, self.dweight, self.dbias),
            )
        if dx is not None:
            ops.embed_periodic_slope(
                self.waves, self.frequency, self.weight, p.wave, p.y, p.delta, dx
            )

    def parameter_shapes(self) -> Shapes:
        """Return the shapes of frequency, phase, weight and bias."""
        settings, numbers = self.settings, self.waves.numbers
        linear = settings.width - settings.beside
        phase = {"phase": (numbers, settings.frequencies)} if settings.beside else {}
        return {
            "frequency": (numbers, settings.frequencies),
            **phase,
            "weight": (numbers * settings.waves, linear),
            "bias": (numbers, linear),
        }

    def initialize(self, values: Mapping[str, NDArray[Any]], draw: np.random.Generator) -> None:
        """Draw w from N(0, sigma), b from U(-pi, pi), A and c from U(-1, 1) / sqrt(waves)."""
        values["frequency"][...] = draw.normal(0, self.settings.sigma, values["frequency"].shape)
        if "phase" in values:
            values["phase"][...] = draw.uniform(-np.pi, np.pi, values["phase"].shape)
        bound = self.settings.waves**-0.5
        for name in ("weight", "bias"):
            values[name][...] = draw.uniform(-bound, bound, values[name].shape)

    def bind(self, of: Callable[[str], Array], gradient: Callable[[str], Array]) -> None:
        """Take the arrays of the parameters as attributes; a phase that is none is 0."""
        super().bind(of, gradient)
        if not self.settings.beside:
            zeros = np.zeros(self.frequency.shape)
            self.phase = placed(self._backend, zeros, self.frequency.dtype)
            self.dphase = placed(self._backend, zeros, self.frequency.dtype)

    def arrays(self, room: Room) -> PeriodicArrays:
        """Return the arrays of one batch."""
        shape, waves = (room.rows, self.outputs), 2 * self.waves.numbers * self.waves.frequencies
        return PeriodicArrays(
            room.make(shape, room.stored),
            room.make(shape, room.stored),
            room.make((room.rows, waves), room.dtype),
        )

    def __repr__(self) -> str:
        return f"PeriodicEmbedding({self.inputs} -> {self.outputs}, {self.settings.kind})"
