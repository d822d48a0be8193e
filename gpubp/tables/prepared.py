"""A table made ready for training: its inputs, its targets, its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import MissingExtraError
from gpubp.network import Network
from gpubp.nn.bins import quantile_bins, tree_bins
from gpubp.nn.layers import Dense
from gpubp.nn.layers.categories import Categories
from gpubp.nn.layers.first import names_behind
from gpubp.tables.cautions import cautions
from gpubp.tables.dealt_rows import DealtRows
from gpubp.tables.evaluated_rows import told_apart_by
from gpubp.tables.preprocessing import Preprocessing
from gpubp.tables.recipe import MOST_EMBEDDED, Recipe
from gpubp.tables.splits import Split, deal_again, time_split, train_validation_test_split
from gpubp.tables.streamed import StreamedTable
from gpubp.tables.table import Table
from gpubp.tables.target_rows import keep_rows_with_target
from gpubp.tables.task import decide_task

SAMPLED_ROWS = 100_000  # in which bins are found
TOLD_SHARE = 0.01  # of the rows of a table, from which on what training lacks in them is told
FIRST_VALUES = 0.1  # what the first values of embedded names are multiplied by


@dataclass(frozen=True)
class Prepared:
    """A table made ready for training: features, targets, and the parts the rows were dealt to.

    Attributes
    ----------
    deal : callable or None
        Returns the training and validation rows of a member, by its number, which is asked several
        times; None where all train on the parts of `split`.
    weights : array (rows,) or None
        What each row weighs in the loss.
    """

    table: Table
    preprocessing: Preprocessing
    split: Split
    x: NDArray[np.float32]
    y: NDArray[Any]
    notes: tuple[str, ...]
    deal: Callable[[int], tuple[NDArray[np.int64], NDArray[np.int64]]] | None = None
    weights: NDArray[Any] | None = None

    def rows(self, part: str) -> int:
        """Return the number of rows of a part: "train", "validation" or "test"."""
        return len(getattr(self.split, part))

    def member_rows(self, member: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the training and the validation rows of a member."""
        if self.deal is None or not len(self.split.validation):
            return self.split.train, self.split.validation
        return self.deal(member)

    def whole(self) -> Prepared:
        """Return the same with all rows but those of the test part to train on."""
        rows = np.sort(np.concatenate([self.split.train, self.split.validation]))
        return replace(self, split=Split(rows, rows[:0], self.split.test), deal=None)

    def unused(self, member: int = 0) -> NDArray[np.int64]:
        """Return inputs that are zero in every training row: the slots of unknown categories."""
        return np.flatnonzero(~self.x[self.member_rows(member)[0]].any(axis=0))

    def sample(self, member: int = 0) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return training rows of a member and their targets to find bins in."""
        chosen = self.member_rows(member)[0]
        chosen = chosen[:: -(-len(chosen) // SAMPLED_ROWS)]
        return self.x[chosen], self.y[chosen]


def prepare(
    table: Table,
    target: str,
    task: str,
    test: float,
    validation: float,
    seed: int,
    several: bool = False,
    time_column: str = "",
) -> Prepared:
    """Deal the rows to three parts and fit the preprocessing on the training part.

    With `several` networks each holds other rows out for validation, so that the preprocessing is
    fitted on the rows of both parts. With a time column the last rows are held out, the same for
    all. The preprocessing notes which rows are used, for `gpubp evaluate --part`.

    Raises
    ------
    GpubpError
        When the table, the target or the shares cannot be used; see the modules it calls.
    """
    table, dropped = keep_rows_with_target(table, target)
    task = decide_task(table, target, task)
    labels = table.column(target) if task == "classification" else None
    if time_column:
        split = time_split(table.column(time_column), test, validation)
    else:
        split = train_validation_test_split(table.rows, test, validation, seed, labels)
    prepared = prepare_split(table, target, task, split, seed, several and not time_column)
    preprocessing = prepared.preprocessing
    warned = cautions(table, target, task, time_column)
    told = (dropped, *preprocessing.notes, *warned, *prepared.notes)
    dealt = DealtRows.of(table, told_apart_by(preprocessing), split, (test, validation), seed)
    return replace(
        prepared,
        preprocessing=replace(preprocessing, dealt=dealt),
        notes=tuple(note for note in told if note),
    )


def prepare_split(
    table: Table, target: str, task: str, split: Split, seed: int, several: bool
) -> Prepared:
    """Fit the preprocessing on rows that were dealt; notes are on what training lacks of the rest.

    Raises
    ------
    GpubpError
        When the table or the target cannot be used.
    """
    labels = table.column(target) if task == "classification" else None
    learnt = np.sort(np.concatenate([split.train, split.validation])) if several else split.train
    preprocessing = Preprocessing.fit(table, target, task, rows=learnt)
    transformed = preprocessing.transform(table, warned_share=TOLD_SHARE)
    y, count = preprocessing.targets(table), len(split.validation)
    deal = cache(partial(deal_again, learnt, count, seed, labels)) if several and count else None
    warnings = tuple(transformed.warnings)
    return Prepared(table, preprocessing, split, transformed.x, y, warnings, deal)


def embedded_bins(
    prepared: Prepared | StreamedTable, recipe: Recipe, member: int = 0
) -> tuple[list[list[float]] | None, int]:
    """Return the bins of every input of a member, and how many numbers one with bins becomes.

    Columns of numbers with more than two values are embedded, where there are not too many of them.
    The bins are found in the member's own training rows: had they seen the targets of the rows that
    it is validated on, that loss would be too good.
    """
    if not recipe.bins:
        return None, recipe.embedding
    numbers = prepared.preprocessing.number_features
    bins: list[list[float]] = [[] for _ in prepared.preprocessing.features]
    found = _bins(prepared, numbers, recipe, member) if numbers else []
    for place, edges in zip(numbers, found, strict=True):
        bins[place] = edges if len(edges) > 2 else []
    embedded = sum(map(bool, bins))
    width = min(recipe.embedding, MOST_EMBEDDED // max(embedded, 1))
    return (bins, width) if embedded and width >= 2 else (None, recipe.embedding)


def _bins(
    prepared: Prepared | StreamedTable, numbers: list[int], recipe: Recipe, member: int
) -> list[list[float]]:
    """Return bins by trees on the targets, where scikit-learn is at hand, else by quantiles."""
    x, y = prepared.sample(member)
    classes = prepared.preprocessing.task == "classification"
    try:
        return tree_bins(x[:, numbers], y, recipe.bins, recipe.leaf, classes)
    except MissingExtraError:
        return quantile_bins(x[:, numbers], recipe.bins)


def forget(net: Network, inputs: NDArray[np.int64]) -> None:
    """Let inputs that no training row uses add nothing to a prediction.

    They would keep their random first weights.
    """
    places = passed_inputs(net)
    inputs = np.array([places[each] for each in inputs.tolist() if each in places], np.int64)
    first = next(layer for layer in net.layers if isinstance(layer, Dense))
    with net.backend.on_device():
        first.weight[net.backend.asarray(inputs)] = 0


def bring_near_zero(net: Network) -> None:
    """Let the embedded names of a new network begin nearly alike.

    A name of few training rows then stays near the mean of all, as an unknown one is; with first
    values of usual size a network learns the noise of each.
    """
    for layer in net.layers:
        if isinstance(layer, Categories):
            with net.backend.on_device():
                layer.weight[...] *= FIRST_VALUES


def passed_inputs(net: Network) -> dict[int, int]:
    """Return where inputs that no layer embeds come to lie among what the first dense layer reads.

    Each embedding layer hands them on behind what it embeds, under the names they had.
    """
    names = names_behind(net.layers, [str(number) for number in range(net.spec.sizes[0])])
    return {int(name): place for place, name in enumerate(names) if name.isdigit()}


def member_data(prepared: Prepared | StreamedTable, member: int) -> tuple[dict[str, Any], Any, int]:
    """Return what a member trains on, what it is validated on, and the rows of the former."""
    held: Any = None
    if isinstance(prepared, StreamedTable):
        held = prepared.dataset("validation") if prepared.rows("validation") else None
        return {"x": prepared.dataset("train")}, held, prepared.rows("train")
    train, validation = prepared.member_rows(member)
    x, y, weights = prepared.x, prepared.y, prepared.weights

    def of(rows: NDArray[np.int64]) -> Any:
        return None if weights is None else weights[rows]

    if len(validation):
        held = (x[validation], y[validation], of(validation))
    return {"x": x[train], "y": y[train], "sample_weight": of(train)}, held, len(train)
