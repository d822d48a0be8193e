"""Tables that `train` reads while training: which are, and how they are prepared."""

from __future__ import annotations

from pathlib import Path

from gpubp import distributed
from gpubp.cli.table_reading import TableOptions
from gpubp.errors import ConfigurationError
from gpubp.files import free_memory
from gpubp.tables.splits import check_shares
from gpubp.tables.streamed import StreamedTable, prepare_stream
from gpubp.tables.table import BUNDLED

STREAMED = (".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz")  # which are read while training


def is_streamed(data: str, wanted: bool | None) -> bool:
    """Tell whether a table is to be read while training, not before."""
    path = Path(data)
    if data in BUNDLED or not path.exists():
        return False
    if path.is_dir():
        return True
    if wanted is not None:
        return wanted
    if not path.name.lower().endswith(STREAMED):
        return False
    # numbers take about this many times their size in the file; see `gpubp.tables.table.Table`
    expanded = path.stat().st_size * (4 if path.suffix == ".parquet" else 2)
    return expanded > free_memory() / 2


def stream_table(
    data: str,
    target: str,
    task: str,
    test: float,
    validation: float,
    seed: int,
    processes: distributed.Communicator | None,
) -> StreamedTable:
    """Return a table that is read while training, a CSV file as the Parquet file made of it."""
    if not target:
        raise ConfigurationError("--target is missing; the name of a column is needed")
    check_shares(test, validation, seed)
    path = Path(data)
    if path.is_file() and not path.name.lower().endswith(STREAMED):
        raise ConfigurationError(
            f"--stream is for {', '.join(STREAMED)} and DATA is {path.name!r}; --no-stream"
            " is needed"
        )
    if path.is_file() and path.suffix != ".parquet":
        from gpubp.data import csv_cache

        path = distributed.on_root(
            processes, lambda: csv_cache.converted(path), "the conversion of the CSV file"
        )
    if processes is None:
        return prepare_stream(path, target, task, test, validation, seed)
    return prepare_stream(
        *(path, target, task, test, validation, seed),
        lambda read: processes.collect(read, "what the rows hold", patient=True),
        (processes.rank, processes.size),
    )


def check_as_usual(options: TableOptions, drop: str | None, types: str, time_column: str) -> None:
    """Raise ConfigurationError where options say how to read a table that is streamed."""
    if options != TableOptions() or drop or types or time_column:
        raise ConfigurationError(
            "--sep, --decimal, --missing, --no-header, --encoding, --drop, --types and"
            " --time-column are for tables in memory and this one is read while training;"
            " --no-stream is needed, or a table without them"
        )
