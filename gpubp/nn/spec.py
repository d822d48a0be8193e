"""What a network is, in one object: what its maker asked for, checked, as model files hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from gpubp.backends.precision import get_precision
from gpubp.backends.random import Seed, checked_seed
from gpubp.checks import checked_whole
from gpubp.errors import ConfigurationError, brief
from gpubp.nn.activations import get_activation
from gpubp.nn.initializers import get_initializer
from gpubp.nn.layers.periodic import Periodic
from gpubp.nn.spec_checks import (
    STANDARD,
    checked_bins,
    checked_categories,
    checked_mixing,
    checked_normalization,
    checked_periodic,
    checked_rate,
    checked_residual,
    checked_scale,
    checked_sizes,
    checked_weights,
    for_each_layer,
    width_of,
)

EMBEDDING = 16  # numbers that an input with bins becomes
CATEGORY_WIDTH = 8  # numbers that an input of categories becomes
# what is said of a network only where it has such a first layer
_FIRST_LAYERS = {
    "bins": ("bins", "embedding"),
    "categories": ("categories", "category_width"),
    "periodic": ("periodic",),
    "input_factors": ("input_factors",),
}


@dataclass(frozen=True)
class NetworkSpec:
    """The description of a network; everything but its parameters and where they lie.

    Attributes
    ----------
    sizes : tuple of int
        Number of inputs, of neurons in each hidden layer, of outputs.
    activation : tuple of str
        Activation of each hidden layer.
    output : str
        Activation of the last layer.
    dtype, precision : str
        Of the parameters, and of a GPU's products.
    seed : int
        Decides initial weights, row order and dropout.
    dropout : tuple of float
        Share of the outputs dropped in training, for each hidden layer.
    initializer : str
        See `gpubp.nn.initializers`.
    input_scale : float
        What every input is multiplied by as a batch is read.
    normalization : tuple of str or None
        "layer" or "batch" for each hidden layer that normalises its sums.
    bins : tuple of tuple of float
        The edges of each input's bins, where inputs are embedded by them; else empty.
    embedding : int
        Numbers that an embedded input becomes.
    categories : tuple of int
        The number of categories of each input, 0 for a number, where some are codes; else empty.
    category_width : int
        Numbers that a code becomes.
    residual : tuple of bool
        Whether each hidden layer adds its inputs to its outputs.
    mixing : tuple of bool
        Whether each hidden layer mixes f(z) with z by trained factors.
    weights : str
        "standard", or "ntk" where products with weights are divided by the root of the inputs.
    periodic : Periodic or None
        How all inputs that are numbers are embedded by waves.
    input_factors : bool
        Whether all that the first dense layer reads has trained factors.
    seed_drawn : bool
        Whether no one chose the seed: processes that train together then take rank 0's.
    """

    sizes: tuple[int, ...]
    activation: tuple[str, ...]
    output: str
    dtype: str
    precision: str
    seed: int
    dropout: tuple[float, ...]
    initializer: str
    input_scale: float
    normalization: tuple[str | None, ...]
    bins: tuple[tuple[float, ...], ...] = ()
    embedding: int = EMBEDDING
    categories: tuple[int, ...] = ()
    category_width: int = CATEGORY_WIDTH
    residual: tuple[bool, ...] = ()
    mixing: tuple[bool, ...] = ()
    weights: str = STANDARD
    periodic: Periodic | None = None
    input_factors: bool = False
    seed_drawn: bool = field(default=False, compare=False)

    @classmethod
    def of(
        cls,
        sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "relu",
        output: str = "identity",
        dtype: Any = "float32",
        precision: str | None = None,
        seed: Seed = 0,
        dropout: float | Sequence[float] = 0.0,
        initializer: str = "auto",
        input_scale: float = 1.0,
        normalization: str | Sequence[str | None] | None = None,
        bins: Sequence[Sequence[float]] | None = None,
        embedding: int = EMBEDDING,
        categories: Sequence[int] | None = None,
        category_width: int = CATEGORY_WIDTH,
        residual: bool | Sequence[bool] = False,
        mixing: bool | Sequence[bool] = False,
        weights: str = STANDARD,
        periodic: Periodic | Mapping[str, Any] | None = None,
        input_factors: bool = False,
    ) -> NetworkSpec:
        """Check what a person asked for and return the spec; see `gpubp.Network`.

        Raises
        ------
        ConfigurationError, ShapeError, UnknownNameError
            When a setting is unknown, out of its range or does not fit the layers.
        """
        checked = checked_sizes(sizes)
        hidden = len(checked) - 2
        given = for_each_layer("activation", activation, hidden)
        functions = [get_activation(name) for name in (*given, output)]
        names = [function.name for function in functions[:-1]]
        for function in functions:
            get_initializer(initializer, function.initializer)
        rates = for_each_layer("dropout", dropout, hidden)
        norms = for_each_layer("normalization", normalization, hidden)
        chosen = get_precision(precision, dtype)
        scale = checked_scale(input_scale)
        coded = checked_categories(categories, checked[0], chosen, scale)
        edges = checked_bins(bins, checked[0], np.dtype(chosen.dtype), coded)
        waves = checked_periodic(periodic, edges, coded)
        width = checked_whole("embedding", embedding)
        of_codes = checked_whole("category_width", category_width)
        first = checked[0]  # the numbers that the inputs become
        if edges or coded or waves:
            first = sum(width_of(n, edges, width, coded, of_codes, waves) for n in range(first))
        read = (first, *checked[1:-1])[:hidden]  # numbers that each hidden layer reads
        return cls(
            sizes=checked,
            activation=tuple(names),
            output=output,
            dtype=chosen.dtype.name,
            precision=chosen.name,
            seed=checked_seed(seed),
            dropout=tuple(map(checked_rate, rates)),
            initializer=initializer,
            input_scale=scale,
            normalization=tuple(map(checked_normalization, norms)),
            bins=edges,
            embedding=width,
            categories=coded,
            category_width=of_codes,
            residual=checked_residual(residual, read, checked[1:-1]),
            mixing=checked_mixing(mixing, names),
            weights=checked_weights(weights),
            periodic=waves,
            input_factors=bool(input_factors),
            seed_drawn=seed is None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as model files and checkpoints hold it."""
        plain = asdict(self)
        del plain["seed_drawn"]
        for name, settings in _FIRST_LAYERS.items():
            if not plain[name]:  # as networks without them have always been described
                for setting in settings:
                    del plain[setting]
        for form in ("residual", "mixing"):
            if not any(plain[form]):
                del plain[form]
        if self.weights == STANDARD:
            del plain["weights"]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in plain.items()
        }

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> NetworkSpec:
        """Return the spec that a file describes, checked.

        Raises
        ------
        ConfigurationError, ShapeError, UnknownNameError, TypeError, ValueError
            When it describes no network.
        """
        dtype = described.get("dtype", "float32")
        if dtype not in ("float32", "float64"):
            raise ConfigurationError(f"dtype is {brief(dtype)}; float32 or float64 is needed")
        return cls.of(**described)

    def with_seed(self, seed: int) -> NetworkSpec:
        """Return the same network with another seed."""
        return replace(self, seed=checked_seed(seed))

    def with_dtype(self, dtype: Any) -> NetworkSpec:
        """Return the same network in another dtype, with the precision that goes with it."""
        chosen = get_precision(None, dtype)
        return replace(self, dtype=chosen.dtype.name, precision=chosen.name)
