"""Predictions as CSV, JSON or Parquet, with columns of the table beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.errors import ConfigurationError, import_extra
from gpubp.tables.encoding import as_texts
from gpubp.tables.intervals import levels_of
from gpubp.tables.model import Predictions, TabularModel
from gpubp.tables.table import Table

PREDICTION = "prediction"
SHARE = "probability_"  # before the name of a class
ENDS = "lower", "upper"  # of an interval


def answer_columns(
    model: TabularModel,
    answers: Predictions,
    table: Table,
    keep: Iterable[str] = (),
    interval: float | None = None,
) -> dict[str, NDArray[Any]]:
    """Return kept columns of the table, the labels, and the probability of each class.

    With an interval the ends between which such a share of the targets lies, too.

    Raises
    ------
    UnknownNameError, DataError
        When the table has no such column to keep.
    ConfigurationError
        When a kept column has the name of one that is made here, or there can be no interval.
    """
    made = {PREDICTION: answers.labels}
    if interval is not None:
        for name, level in zip(ENDS, levels_of(interval, "--interval"), strict=True):
            made[name] = model.quantiles(answers.outputs, level)
    for place, label in enumerate(model.preprocessing.classes):
        made[f"{SHARE}{label}"] = answers.outputs[:, place]
    kept = {name: _kept(table, name) for name in keep}
    both = next((name for name in kept if name in made), None)
    if both is not None:
        raise ConfigurationError(
            f"--keep names {both!r}, as a column of predictions is called; another is needed"
        )
    return kept | made


def written(columns: dict[str, NDArray[Any]], as_json: bool) -> str:
    """Return answers as CSV, probabilities with six digits, or as JSON."""
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    if as_json:
        return json.dumps([dict(zip(columns, row, strict=True)) for row in rows]) + "\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    shares = [name.startswith(SHARE) for name in columns]
    for row in rows:
        pairs = zip(row, shares, strict=True)
        writer.writerow([f"{cell:.6g}" if share else cell for cell, share in pairs])
    return text.getvalue()


def content_for(path: Path, columns: dict[str, NDArray[Any]], as_json: bool) -> bytes:
    """Return what a file of answers holds: Parquet, JSON or else CSV, by the end of its name."""
    if path.suffix.lower() != ".parquet":
        return written(columns, as_json or path.suffix.lower() == ".json").encode()
    arrow = import_extra("pyarrow", "cli")
    parquet = import_extra("pyarrow.parquet", "cli")
    stream = io.BytesIO()
    parquet.write_table(
        arrow.table({name: each.tolist() for name, each in columns.items()}), stream
    )
    return stream.getvalue()


def _kept(table: Table, name: str) -> NDArray[Any]:
    """Return a column as it is to be written: times as ISO 8601 has them, None where missing."""
    values = table.column(name)
    if table.kinds[name] != "time":
        return as_texts(table, name)
    missing = np.isnan(values)
    times = (np.where(missing, 0, values) * 1e6).round().astype("int64").astype("M8[us]")
    texts = np.datetime_as_string(times, "s").astype(object)
    texts[missing] = None
    return np.asarray(texts)
