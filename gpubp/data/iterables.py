"""Batches that the user makes: any iterable of (x, y) or (x, y, weights)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from gpubp.checks import checked_whole
from gpubp.data.prefetch import Prefetcher
from gpubp.data.protocol import Reading, Rows, Schema, checked_array
from gpubp.errors import ConfigurationError, DataError, ShapeError

BATCHES_AHEAD = 2


class BatchDataset:
    """Batches from a function that is called with the number of each epoch.

    They come in the order and the sizes they are given in. Going on in the middle of an epoch reads
    the batches before and passes over them.

    Parameters
    ----------
    source : callable or iterable
        ``source(epoch)`` returns an iterable of (x, y) or (x, y, weights); or an iterable that
        can be begun anew for each epoch, such as a list or a torch DataLoader's like.
    steps : int or None
        Batches of an epoch; None for ``len(source)``.

    Raises
    ------
    ConfigurationError
        When the number of batches is not known, or the source can be read only once.
    """

    def __init__(
        self,
        source: Callable[[int], Iterable[Any]] | Iterable[Any],
        steps: int | None = None,
    ) -> None:
        self._source = source
        if steps is None and not hasattr(source, "__len__"):
            raise ConfigurationError(
                "steps is None and the source of batches has no length; give the batches an epoch"
            )
        if isinstance(source, Iterator):
            raise ConfigurationError(
                "the source of batches can be read once only; give a function that returns an"
                " iterable for the number of an epoch, or a list"
            )
        self.steps = checked_whole("steps", len(source) if steps is None else steps)  # type: ignore[arg-type]
        first = next(iter(self._epoch(0)), None)
        if first is None:
            raise DataError("the source of batches gave none; at least one is needed")
        rows = _checked(first, 0)
        if not len(rows.x):
            raise DataError("the first batch has no rows; at least one is needed")
        self._first_rows = len(rows.x)
        self.schema = Schema.of(rows)

    @property
    def batch_size(self) -> int:
        """Rows of the first batch."""
        return self._first_rows

    def __len__(self) -> int:
        """Return the rows of an epoch whose batches are all as large as the first."""
        return self.steps * self._first_rows

    def batches(self, reading: Reading, epoch: int, start: int = 0) -> Iterator[Rows]:
        """Return the batches of an epoch from number `start` on, own shards only."""
        return Prefetcher(self._batches(reading, epoch, start), BATCHES_AHEAD)

    def _batches(self, reading: Reading, epoch: int, start: int) -> Iterator[Rows]:
        number = start
        for number, batch in enumerate(islice(self._epoch(epoch), start, self.steps), start):
            rows = _checked(batch, number)
            inputs = rows.x.shape[1]
            if inputs != len(self.schema.inputs):
                raise ShapeError(
                    f"batch {number + 1} has {inputs} inputs; {len(self.schema.inputs)} are"
                    " needed, as in the first"
                )
            yield rows.between(*reading.shards.span(len(rows.x)))
        if number + 1 < self.steps:
            raise DataError(
                f"the source of batches ended after {number + 1} in epoch {epoch + 1};"
                f" {self.steps} are needed"
            )

    def fingerprint(self) -> str:
        """Return what little is known of the data."""
        return f"{self.steps} batches of {self.schema}"

    def _epoch(self, epoch: int) -> Iterable[Any]:
        return self._source(epoch) if callable(self._source) else self._source


def _checked(batch: Any, number: int) -> Rows:
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        raise DataError(
            f"batch {number + 1} is no (x, y) or (x, y, weights); one of them is needed"
        )
    x = checked_array(batch[0], f"x of batch {number + 1}", (2,))
    y = checked_array(batch[1], f"y of batch {number + 1}", (1, 2))
    weights = None if len(batch) == 2 else np.asarray(batch[2])
    if len(y) != len(x) or (weights is not None and weights.shape != (len(x),)):
        raise ShapeError(
            f"batch {number + 1} has {len(x)} rows of x and {len(y)} of y; the same number is"
            " needed, and of weights"
        )
    return Rows(x, y, weights)
