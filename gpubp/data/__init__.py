"""Data sets for `Network.fit`: in memory, mapped, in Parquet or CSV files, or made by the user.

Any object with the four things of `Dataset` is one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpubp.data.arrays import ArrayDataset, npy
from gpubp.data.iterables import BatchDataset
from gpubp.data.protocol import Dataset, Reading, Rows, Schema
from gpubp.errors import import_extra

if TYPE_CHECKING:
    from gpubp.data.parquet_data import ParquetDataset

__all__ = [
    "ArrayDataset",
    "BatchDataset",
    "Dataset",
    "Reading",
    "Rows",
    "Schema",
    "csv",
    "npy",
    "parquet",
]


def parquet(path: Any, target: Any, **settings: Any) -> ParquetDataset:
    """Return the data set of Parquet files: a file, a folder or a list; extra: ``cli``.

    See `gpubp.data.parquet_data.ParquetDataset` for the settings and errors.
    """
    import_extra("pyarrow", "cli")
    from gpubp.data.parquet_data import ParquetDataset

    return ParquetDataset(path, target, **settings)


def csv(path: str | os.PathLike[str], target: Any, **settings: Any) -> ParquetDataset:
    """Return the data set of a CSV file, converted once to Parquet; extra: ``cli``.

    See `gpubp.data.csv_cache.csv` for the settings and errors.
    """
    import_extra("pyarrow", "cli")
    from gpubp.data.csv_cache import csv

    return csv(path, target, **settings)
