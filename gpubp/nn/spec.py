"""What a network is, in one object: what its maker asked for, checked, as model files hold it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from gpubp.backends.precision import Precision, get_precision
from gpubp.backends.random import Seed, checked_seed
from gpubp.errors import ConfigurationError, ShapeError, checked_list, checked_whole, is_number
from gpubp.nn.activations import get_activation
from gpubp.nn.initializers import get_initializer
from gpubp.nn.layers.periodic import Periodic

STANDARD = "standard"  # form of the weights; the other is "ntk"
EMBEDDING = 16  # numbers that an input with bins becomes
LARGEST_SIZE = 2**31 - 1  # of a layer: what BLAS counts in
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
        checked = _checked_sizes(sizes)
        hidden = len(checked) - 2
        names = [str(name) for name in _for_each("activation", activation, hidden)]
        for name in (*names, output):
            get_initializer(initializer, get_activation(name).initializer)
        rates = _for_each("dropout", dropout, hidden)
        norms = _for_each("normalization", normalization, hidden)
        chosen = get_precision(precision, dtype)
        scale = _checked_scale(input_scale)
        coded = _checked_categories(categories, checked[0], chosen, scale)
        edges = _checked_bins(bins, checked[0], np.dtype(chosen.dtype), coded)
        waves = _checked_periodic(periodic, edges, coded)
        width = checked_whole("embedding", embedding)
        of_codes = checked_whole("category_width", category_width)
        first = checked[0]  # the numbers that the inputs become
        if edges or coded or waves:
            first = sum(_width(n, edges, width, coded, of_codes, waves) for n in range(first))
        read = (first, *checked[1:-1])[:hidden]  # numbers that each hidden layer reads
        return cls(
            sizes=checked,
            activation=tuple(names),
            output=output,
            dtype=chosen.dtype.name,
            precision=chosen.name,
            seed=checked_seed(seed),
            dropout=tuple(map(_checked_rate, rates)),
            initializer=initializer,
            input_scale=scale,
            normalization=tuple(map(_checked_normalization, norms)),
            bins=edges,
            embedding=width,
            categories=coded,
            category_width=of_codes,
            residual=_checked_residual(residual, read, checked[1:-1]),
            mixing=_checked_mixing(mixing, names),
            weights=_checked_weights(weights),
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
            raise ConfigurationError(f"dtype is {dtype!r:.60}; float32 or float64 is needed")
        return cls.of(**described)

    def with_seed(self, seed: int) -> NetworkSpec:
        """Return the same network with another seed."""
        return replace(self, seed=checked_seed(seed))

    def with_dtype(self, dtype: Any) -> NetworkSpec:
        """Return the same network in another dtype, with the precision that goes with it."""
        chosen = get_precision(None, dtype)
        return replace(self, dtype=chosen.dtype.name, precision=chosen.name)


def _checked_categories(
    categories: Sequence[int] | None, inputs: int, precision: Precision, scale: float
) -> tuple[int, ...]:
    """Return the number of categories of each input; nothing where no input has any."""
    if categories is None or not len(checked_list("categories", categories)):
        return ()
    checked = tuple(categories)
    if len(checked) != inputs:
        raise ShapeError(
            f"categories has {len(checked)} entries; one for each of the {inputs} inputs"
        )
    most = precision.largest_code
    for column, count in enumerate(checked):
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not whole or not 0 <= count <= most:
            raise ConfigurationError(
                f"categories of input {column} are {count!r}; a whole number from 0 to {most} is"
                f" needed, whose codes are exact in {precision.name}"
            )
    if not any(checked):
        return ()
    if scale != 1:
        raise ConfigurationError(
            f"input_scale is {scale!r} and some inputs are categories; 1 is needed, as codes must"
            " be read as they are"
        )
    return tuple(map(int, checked))


def _checked_periodic(
    periodic: Periodic | Mapping[str, Any] | None,
    bins: tuple[tuple[float, ...], ...],
    categories: tuple[int, ...],
) -> Periodic | None:
    """Return the settings, also where a file holds them as a dict."""
    if periodic is None:
        return None
    if bins:
        raise ConfigurationError("bins and periodic are both given; one of them is needed")
    if categories and all(categories):
        raise ConfigurationError(
            "periodic is given and all inputs are categories; a number, or no periodic, is needed"
        )
    if not isinstance(periodic, Periodic | Mapping):
        raise ConfigurationError(f"periodic is {periodic!r:.60}; a gpubp.Periodic is needed")
    return periodic if isinstance(periodic, Periodic) else Periodic(**periodic)


def _checked_bins(
    bins: Sequence[Sequence[float]] | None,
    inputs: int,
    dtype: np.dtype[Any],
    categories: tuple[int, ...],
) -> tuple[tuple[float, ...], ...]:
    """Return the edges of each input's bins; nothing where no input has any."""
    if bins is None or not len(checked_list("bins", bins)):
        return ()
    for edges in checked_list("bins", bins):
        if not all(is_number(x) or isinstance(x, float) for x in checked_list("bins", edges)):
            raise ConfigurationError(f"bins hold {edges!r:.60}; a list of numbers is needed")
    checked = tuple(tuple(float(edge) for edge in edges) for edges in bins)
    if len(checked) != inputs:
        raise ShapeError(f"bins has {len(checked)} entries; one for each of the {inputs} inputs")
    for column, edges in enumerate(checked):
        if edges and categories and categories[column]:
            raise ConfigurationError(
                f"input {column} has bins and {categories[column]} categories; one of the two is"
                " needed"
            )
        steps = np.diff(np.asarray(edges, dtype)) if edges else np.ones(1)
        if len(edges) == 1 or not np.isfinite(steps).all() or not (steps > 0).all():
            raise ConfigurationError(
                f"bins of input {column} are {list(edges)!r}; two or more finite numbers that"
                f" increase in {dtype.name}, or none, are needed"
            )
    return checked if any(checked) else ()


def _checked_residual(
    residual: bool | Sequence[bool], inputs: Sequence[int], outputs: Sequence[int]
) -> tuple[bool, ...]:
    """Return which hidden layers are residual; one that cannot be is refused if asked by itself."""
    wanted = _checked_bools("residual", residual, len(outputs))
    fits = [before == after for before, after in zip(inputs, outputs, strict=True)]
    for number, (asked, can) in enumerate(zip(wanted, fits, strict=True), 1):
        if asked and not can and not isinstance(residual, bool):
            raise ConfigurationError(
                f"residual of hidden layer {number} is True, with {inputs[number - 1]} inputs and"
                f" {outputs[number - 1]} outputs; as many of both, or False, is needed"
            )
    return tuple(asked and can for asked, can in zip(wanted, fits, strict=True))


def _checked_mixing(mixing: bool | Sequence[bool], activations: Sequence[str]) -> tuple[bool, ...]:
    """Return which hidden layers mix; a function of whole rows cannot be mixed."""
    wanted = _checked_bools("mixing", mixing, len(activations))
    for number, (asked, name) in enumerate(zip(wanted, activations, strict=True), 1):
        if asked and get_activation(name).whole_rows:
            raise ConfigurationError(
                f"mixing of hidden layer {number} is True, with activation {name!r}; False, or a"
                " function of each neuron by itself, is needed"
            )
    return tuple(wanted)


def _checked_bools(what: str, value: bool | Sequence[bool], hidden: int) -> list[bool]:
    values = _for_each(what, value, hidden)
    for each in values:
        if not isinstance(each, bool | np.bool_):
            raise ConfigurationError(f"{what} is {each!r}; True or False is needed")
    return [bool(each) for each in values]


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(sizes, Iterable) or isinstance(sizes, str | bytes | Mapping):
        raise ConfigurationError(
            f"sizes is {sizes!r:.200}; a list of all sizes is needed, as in Network([2, 16, 3])"
        )
    checked = tuple(sizes)
    whole = all(_is_size(size) for size in checked)
    if len(checked) < 2 or not whole:
        raise ConfigurationError(
            f"sizes are {list(checked)!r:.200}; at least two whole numbers above 0 are needed:"
            " inputs, hidden layers, outputs"
        )
    return tuple(int(size) for size in checked)


def _is_size(value: Any) -> bool:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and 1 <= value <= LARGEST_SIZE


def _for_each(what: str, value: Any, hidden: int) -> list[Any]:
    """Spread one value over the hidden layers, or check that there is one for each."""
    if value is None or isinstance(value, str | int | float):
        return [value] * hidden
    if not isinstance(value, Iterable):
        raise ConfigurationError(f"{what} is {value!r:.60}; one value, or a list, is needed")
    values = list(value)
    if len(values) != hidden:
        raise ShapeError(
            f"{what} has {len(values)} entries; one, or one for each of the {hidden} hidden"
            " layers, is needed"
        )
    return values


def _width(
    place: int,
    bins: Sequence[Sequence[float]],
    width: int,
    categories: Sequence[int],
    of_codes: int,
    periodic: Periodic | None,
) -> int:
    """Return how many numbers an input becomes before the first dense layer."""
    if categories and categories[place]:
        return of_codes
    if periodic is not None:
        return periodic.width
    return width if bins and bins[place] else 1


def _checked_scale(scale: float) -> float:
    if not is_number(scale) or not 0 < scale < math.inf:
        raise ConfigurationError(
            f"input_scale is {scale!r:.60}; a finite number above 0 is needed, such as 1 / 255"
        )
    return float(scale)


def _checked_normalization(name: str | None) -> str | None:
    if name not in (None, "layer", "batch"):
        raise ConfigurationError(f"normalization is {name!r}; 'layer', 'batch' or None is needed")
    return name


def _checked_weights(form: str) -> str:
    if form not in (STANDARD, "ntk"):
        raise ConfigurationError(f"weights is {form!r}; {STANDARD!r} or 'ntk' is needed")
    return form


def _checked_rate(rate: float) -> float:
    if not is_number(rate) or not 0 <= rate < 1:
        raise ConfigurationError(f"dropout is {rate!r:.60}; a number from 0 to below 1 is needed")
    return float(rate)
