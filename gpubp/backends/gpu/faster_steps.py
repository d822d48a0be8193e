"""Steps that can be done in several ways: the fastest is found by doing some of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gpubp.backends.gpu.noting import Noted, Product, is_array
from gpubp.backends.gpu.recording import STEPS_AT_ONCE, RecordedSteps, Recording
from gpubp.backends.gpu.tuning import Tuner
from gpubp.backends.scratch import Array


class _NoRoomError(Exception):
    """There is no memory for what a trial writes over."""


class FasterSteps:
    """Steps that are done in each way to find the fastest; the trial leaves no trace.

    The choice is for good: however many steps are asked for at a time, they round alike.

    Parameters
    ----------
    ways : mapping
        What does steps, by names.
    written : sequence of array
        All that a step writes.
    key : str
        Names what decides which is the fastest.
    """

    def __init__(
        self,
        ways: Mapping[str, RecordedSteps],
        written: Sequence[Array],
        tuner: Tuner,
        key: str,
    ) -> None:
        self._ways, self._written, self._tuner, self._key = ways, written, tuner, key
        self._chosen: RecordedSteps | None = None

    def __call__(self, count: int = 1) -> None:
        """Do so many steps."""
        if self._chosen is None and count:
            self._chosen = self._fastest(min(count, STEPS_AT_ONCE))
        self.taken(count)

    def _fastest(self, count: int) -> RecordedSteps:
        """Return the fastest way, which a trial of so many steps finds; the first without room."""
        try:
            name = self._tuner.fastest(self._key, list(self._ways), partial(self._times, count))
        except _NoRoomError:
            return self.taken
        return self._ways[name]

    @property
    def taken(self) -> RecordedSteps:
        """The way that is taken."""
        return self._chosen or next(iter(self._ways.values()))

    @property
    def one(self) -> Recording:
        """The recording of a step."""
        return self.taken.one

    @property
    def several(self) -> Recording | None:
        """The recording of several steps."""
        return self.taken.several

    def _times(self, count: int) -> dict[str, float]:
        """Return the times of the ways: steps that are to be done now are done, and undone."""
        try:
            before = [array.copy() for array in self._written]
        except MemoryError as error:
            raise _NoRoomError from error

        def undo() -> None:
            for array, value in zip(self._written, before, strict=True):
                array[...] = value

        calls: dict[str, Callable[[], None]] = {
            name: partial(steps, count) for name, steps in self._ways.items()
        }
        return self._tuner.times(calls, undo)


def written(noted: Sequence[Noted]) -> list[Array]:
    """Return the arrays that launches write to, each once."""
    arrays = []
    for one in noted:
        if isinstance(one, Product):
            arrays.append(one.out)
        else:
            pairs = zip(one.kernel.parameters, one.arguments, strict=True)
            arrays += [each for parameter, each in pairs if parameter.written and is_array(each)]
    return list({id(array): array for array in arrays}.values())
