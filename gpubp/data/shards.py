"""Which rows of each batch are a process's own, where several processes train together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shards:
    """Batches are cut into `count` shards; those from `first` to before `stop` are one's own.

    The number of shards is fixed for a training, not the number of processes: process r of P has
    the shards from r count / P to before (r + 1) count / P.
    """

    count: int = 1
    first: int = 0
    stop: int = 1

    @property
    def own(self) -> range:
        """Numbers of one's own shards."""
        return range(self.first, self.stop)

    def bound(self, shard: int, rows: int) -> int:
        """Return where a shard begins in a batch of so many rows."""
        return shard * rows // self.count

    def rows(self, shard: int, rows: int) -> int:
        """Return how many of so many rows a shard has."""
        return self.bound(shard + 1, rows) - self.bound(shard, rows)

    def span(self, rows: int) -> tuple[int, int]:
        """Return where one's own rows begin and end in a batch of so many rows."""
        return self.bound(self.first, rows), self.bound(self.stop, rows)

    def most(self, size: int) -> int:
        """Return the most rows of one's own in any batch of up to `size` rows.

        A shorter batch may have more of them: of 8 rows the third of 5 shards has 1, of 7 it has 2.
        """
        spans = map(self.span, range(max(0, size - self.count), size + 1))
        return max(stop - start for start, stop in spans)


ALL = Shards()


def shards_of(rank: int, size: int, count: int) -> Shards:
    """Return the shards of one process of several."""
    return Shards(count, rank * count // size, (rank + 1) * count // size)
