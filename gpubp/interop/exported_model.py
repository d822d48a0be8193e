"""A model as plain NumPy arrays and settings: what every form of export is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.layer_protocol import NORM_EPSILON
from gpubp.errors import ConfigurationError
from gpubp.network import Network
from gpubp.nn.layers import Dense
from gpubp.nn.layers.categories import Categories
from gpubp.nn.layers.periodic import PeriodicEmbedding
from gpubp.nn.layers.piecewise_linear import PiecewiseLinear
from gpubp.nn.layers.scale import Scale

Host = Callable[[Any], NDArray[np.float32]]


@dataclass(frozen=True)
class Components:
    """What a first layer reads in place of x: clip((x[column] - low) / length, floor, ceiling).

    Attributes
    ----------
    column : array of int, (components,)
        Which column of x.
    low, length, floor, ceiling : array, (components,)
        float32; floor and ceiling are infinite where nothing is clipped.
    """

    column: NDArray[np.int64]
    low: NDArray[np.float32]
    length: NDArray[np.float32]
    floor: NDArray[np.float32]
    ceiling: NDArray[np.float32]


@dataclass(frozen=True)
class PlainCategories:
    """An embedding of categories: codes become rows of a table, numbers pass behind them.

    Attributes
    ----------
    table : array, (categories + 1, width)
        float32; the last row is of zeros, for a number that is no code.
    starts, counts : array of int, (coded inputs,)
        Where the rows of each coded input begin, and how many they are.
    columns, others : array of int
        The columns of x that are codes, and those that are numbers.
    """

    table: NDArray[np.float32]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    columns: NDArray[np.int64]
    others: NDArray[np.int64]


@dataclass(frozen=True)
class PlainPeriodic:
    """An embedding of numbers by waves: cosines, then sines if there are as many maps for them.

    Attributes
    ----------
    turns, phase : array, (numbers, frequencies)
        float32; a wave's angle is turns * x + phase.
    maps, bias : array, (numbers, waves, outputs of one) and (numbers, outputs of one)
        float32; what is made of the waves.
    columns, others : array of int
        The columns that are embedded, and those that pass in front of them.
    beside : array of bool, ()
        Whether the number itself stands before what is made of it, which is else rectified.
    """

    turns: NDArray[np.float32]
    phase: NDArray[np.float32]
    maps: NDArray[np.float32]
    bias: NDArray[np.float32]
    columns: NDArray[np.int64]
    others: NDArray[np.int64]
    beside: NDArray[np.bool_]


@dataclass(frozen=True)
class PlainLayer:
    """One layer y = f(x @ weight + bias), or y = f(gamma * normalised(x @ weight) + bias).

    Attributes
    ----------
    weight, bias, gamma : array
        float32, (inputs, outputs) and twice (outputs,); gamma is None without layer normalisation.
    activation : str
        Name of the function f.
    components : Components or None
        What it reads in place of x, where that is embedded.
    residual : bool
        Whether x is added to y.
    mix : array or None
        float32, (outputs,): the factors of y = z + mix (f(z) - z), where it is not f(z).
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: str
    gamma: NDArray[np.float32] | None = None
    components: Components | None = None
    residual: bool = False
    mix: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class PlainNetwork:
    """One network.

    Attributes
    ----------
    categories, periodic : PlainCategories, PlainPeriodic or None
        What comes before the layers, in this order.
    layers : list of PlainLayer
        First to last; batch normalisation and factors of inputs are part of their weights.
    """

    categories: PlainCategories | None
    periodic: PlainPeriodic | None
    layers: list[PlainLayer]


@dataclass(frozen=True)
class PlainModel:
    """A network, or several that answer by their mean, and what goes before and after it.

    Attributes
    ----------
    inputs : int
        Columns of x.
    members : list of PlainNetwork
        The networks, which answer by their mean.
    input_scale : float
        What inputs are multiplied by.
    preprocessing : dict or None
        `gpubp.tables.preprocessing.Preprocessing.for_export` of a model of a table.
    labels : list or None
        Labels in the order of the outputs, of a classifier.
    """

    inputs: int
    members: list[PlainNetwork]
    input_scale: float
    preprocessing: dict[str, Any] | None
    labels: list[Any] | None

    @property
    def outputs(self) -> int:
        """Columns of the answer."""
        return int(self.members[0].layers[-1].weight.shape[1])


def plain_model(model: Any) -> PlainModel:
    """Return a network, a table's model or an estimator as plain data.

    Raises
    ------
    ConfigurationError
        When it is none of them, or not fitted.
    """
    labels, preprocessing = None, None
    nets = [model]
    if hasattr(model, "preprocessing") and hasattr(model, "nets"):  # a TabularModel
        nets, preprocessing = model.nets, model.preprocessing.for_export()
        labels = model.preprocessing.classes or None
    elif hasattr(model, "steps"):  # a pipeline of scikit-learn
        raise ConfigurationError(
            "a Pipeline cannot be exported as one; pipeline[-1], which needs inputs that its other"
            " steps have made, or a gpubp.TabularClassifier or TabularRegressor, which scale by"
            " themselves, is needed"
        )
    elif hasattr(model, "get_params"):  # an estimator
        nets = model._networks if hasattr(model, "network_") else [None]
        if hasattr(model, "classes_") and not model._labels.several:
            labels = model.classes_.tolist()
    elif isinstance(model, Network):
        preprocessing = model.preprocessing
        if preprocessing is not None:
            labels = preprocessing.get("classes")
    if not all(isinstance(net, Network) for net in nets):
        raise ConfigurationError(
            f"a {type(model).__name__} cannot be exported; a Network, a model of `gpubp train` or a"
            " fitted estimator is needed"
        )
    members = [_network(net) for net in nets]
    return PlainModel(nets[0].sizes[0], members, nets[0].input_scale, preprocessing, labels)


def _network(net: Network) -> PlainNetwork:
    def host(array: Any) -> NDArray[np.float32]:
        return np.array(net.backend.to_numpy(array), np.float32)

    categories, periodic = None, None
    for layer in net.layers:
        if isinstance(layer, Categories):
            categories = _categories(layer, host)
        if isinstance(layer, PeriodicEmbedding):
            periodic = _periodic(layer, host)
    return PlainNetwork(categories, periodic, _layers(net, host))


def _layers(net: Network, host: Host) -> list[PlainLayer]:
    layers, factors = [], np.ones(1, np.float32)
    for layer in net.layers:
        if isinstance(layer, Categories | PeriodicEmbedding):
            continue
        if isinstance(layer, Scale):
            factors = host(layer.weight)
            continue
        if isinstance(layer, PiecewiseLinear):
            layers.append(_embedding(layer, host))
            continue
        assert isinstance(layer, Dense)
        weight = factors[:, None] * host(layer.weight * layer.scale)
        bias, gamma = host(layer.bias), None
        factors = np.ones(1, np.float32)
        if layer.normalization == "layer":
            gamma = host(layer.gamma)
        elif layer.normalization == "batch":
            mean, variance = net.backend.to_numpy(layer.running).astype(float)
            factor = host(layer.gamma) / np.sqrt(variance + NORM_EPSILON)
            bias = (bias - mean * factor).astype(np.float32)
            weight = (weight * factor).astype(np.float32)
        mix = host(layer.mix) if layer.mixing else None
        name = layer.activation.name
        layers.append(PlainLayer(weight, bias, name, gamma, residual=layer.residual, mix=mix))
    return layers


def _categories(layer: Categories, host: Host) -> PlainCategories:
    codes, none = layer.codes, np.zeros((1, layer.width), np.float32)
    table = np.vstack([host(layer.weight), none])
    starts, columns, others = (
        host(each).astype(np.int64) for each in (codes.starts, codes.columns, codes.others)
    )
    return PlainCategories(table, starts[:-1], np.diff(starts), columns, others)


def _periodic(layer: PeriodicEmbedding, host: Host) -> PlainPeriodic:
    waves, weight = layer.waves, host(layer.weight)
    turns = (2 * np.pi * host(layer.frequency).astype(float)).astype(np.float32)
    maps = weight.reshape(waves.numbers, -1, weight.shape[1])
    columns = np.arange(layer.inputs)
    return PlainPeriodic(
        *(turns, host(layer.phase), maps, host(layer.bias)),
        *(columns[waves.passing :], columns[: waves.passing]),
        np.array(waves.beside, bool),
    )


def _embedding(layer: PiecewiseLinear, host: Host) -> PlainLayer:
    """Return an embedding as a product: of the components of all bins, and of x itself."""
    bins = layer.edges
    table, width, inputs = host(layer.table), layer.width, layer.inputs
    count, embedded = len(table), [column for column in range(inputs) if bins[column]]
    weight = np.zeros((count + inputs, layer.outputs), np.float32)
    low, length = np.zeros(count + inputs, np.float32), np.ones(count + inputs, np.float32)
    floor, ceiling = np.full((2, count + inputs), np.inf, np.float32)
    floor *= -1
    column = np.zeros(count + inputs, np.int64)
    column[count:] = np.arange(inputs)
    bias, start = np.zeros(layer.outputs, np.float32), 0
    for number, place in enumerate(embedded):
        columns = slice(number * width, (number + 1) * width)
        edges = np.asarray(bins[place], np.float32)
        stop = start + len(edges) - 1
        column[start:stop], low[start:stop], length[start:stop] = place, edges[:-1], np.diff(edges)
        floor[start + 1 : stop], ceiling[start : stop - 1] = 0, 1
        weight[start:stop, columns] = table[start:stop]
        weight[count + place, columns], bias[columns] = (
            host(layer.weight)[number],
            host(layer.bias)[number],
        )
        start = stop
    passing = [place for place in range(inputs) if not bins[place]]
    for number, place in enumerate(passing):
        weight[count + place, len(embedded) * width + number] = 1
    components = Components(column, low, length, floor, ceiling)
    return PlainLayer(weight, bias, "identity", components=components)
