"""Groups of parameters, with a learning rate and a weight decay of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

from gpubp.checks import check_from_zero, checked_list
from gpubp.errors import ConfigurationError, UnknownNameError, brief
from gpubp.nn.layers import Layer
from gpubp.nn.optimizer import Optimizer
from gpubp.nn.schedule import peak_of

_ONE_OR_MORE: tuple[tuple[str, type, str], ...] = (
    ("names", str, "a name"),
    ("layers", Integral, "a whole number"),
)


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters by name and layer, and what their learning rate and weight decay are times.

    Where several groups name a parameter, their factors are multiplied. Penalties and clipping,
    which `Regularization` has, are not touched.

    Attributes
    ----------
    names : str, sequence of str or None
        Names of parameters in their layers, such as "weight", "bias", "gamma" or "table"; None for
        all.
    layers : int, sequence of int or None
        Places in ``net.layers``, from 0, or from -1 backwards; None for all.
    learning_rate : float
        What the optimizer's learning rate is multiplied by; with 0 the parameters stay as they are.
    weight_decay : float
        What the optimizer's weight decay is multiplied by.

    Raises
    ------
    ConfigurationError
        When a factor is no finite number from 0.
    """

    names: str | Sequence[str] | None = None
    layers: int | Sequence[int] | None = None
    learning_rate: float = 1.0
    weight_decay: float = 1.0

    def __post_init__(self) -> None:
        check_from_zero(learning_rate=self.learning_rate, weight_decay=self.weight_decay)
        for setting, kind, wanted in _ONE_OR_MORE:
            value = getattr(self, setting)
            if value is None:
                continue
            values = (value,) if isinstance(value, kind) else checked_list(setting, value)
            for each in values:
                if not isinstance(each, kind) or isinstance(each, bool):
                    raise ConfigurationError(f"{setting} hold {brief(each)}; {wanted} is needed")
            object.__setattr__(self, setting, values)

    def places(self, layers: Sequence[Layer]) -> set[tuple[int, str]]:
        """Return its parameters as places of layers and names.

        Raises
        ------
        ConfigurationError, UnknownNameError
            When there is no such layer, or none of the layers has a parameter of a name.
        """
        chosen = range(len(layers)) if self.layers is None else self._chosen(len(layers))
        known = {(place, name) for place in chosen for name in layers[place].parameter_shapes()}
        if self.names is None:
            return known
        for name in self.names:
            if name not in {each for _, each in known}:
                raise UnknownNameError("parameter", name, {each for _, each in known})
        return {(place, name) for place, name in known if name in self.names}

    def _chosen(self, count: int) -> list[int]:
        assert isinstance(self.layers, tuple), "made one at the beginning"
        for place in self.layers:
            if not -count <= place < count:
                raise ConfigurationError(
                    f"a group has layer {brief(place)}; a number from {-count} to {count - 1} is"
                    f" needed, as the network has {count} layers"
                )
        return [place % count for place in self.layers]


class Segment(NamedTuple):
    """Neighbours among the parameters that have the same factors.

    Attributes
    ----------
    span : tuple of int or None
        Where in the flat buffer they begin and end; None where they are all of it.
    learning_rate, weight_decay : float
        What the optimizer's are multiplied by.
    """

    span: tuple[int, int] | None
    learning_rate: float = 1.0
    weight_decay: float = 1.0


def segments(
    groups: Sequence[ParameterGroup], layers: Sequence[Layer], optimizer: Optimizer
) -> tuple[Segment, ...]:
    """Cut the flat buffer of the parameters of these layers where the factors change.

    Raises
    ------
    ConfigurationError, UnknownNameError
        When a group names what is not there, or a weight decay becomes too large.
    """
    if not groups:
        return (Segment(None),)
    places = [(group, group.places(layers)) for group in groups]
    segments: list[Segment] = []
    start = 0
    for index, layer in enumerate(layers):
        for name, shape in layer.parameter_shapes().items():
            its_groups = [group for group, those in places if (index, name) in those]
            rate = math.prod(group.learning_rate for group in its_groups)
            decay = math.prod(group.weight_decay for group in its_groups)
            stop = start + math.prod(shape)
            if segments and segments[-1][1:] == (rate, decay) and segments[-1].span is not None:
                segments[-1] = Segment((segments[-1].span[0], stop), rate, decay)
            else:
                segments.append(Segment((start, stop), rate, decay))
            start = stop
    for segment in segments:
        _check_decay(segment, optimizer)
    return (segments[0]._replace(span=None),) if len(segments) == 1 else tuple(segments)


def _check_decay(segment: Segment, optimizer: Optimizer) -> None:
    """Refuse what would turn the sign of a parameter."""
    decay = segment.weight_decay * peak_of(getattr(optimizer, "weight_decay", 0.0))
    rate = segment.learning_rate * peak_of(optimizer.learning_rate)
    if not decay * rate < 1:
        raise ConfigurationError(
            f"weight_decay of a group comes to {decay:g} with a learning rate of {rate:g}; a number"
            f" below {1 / rate:g} is needed"
        )
