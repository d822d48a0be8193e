"""What a training hands back: the facts that `--json` prints, and the page of `--report`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpubp import distributed
from gpubp.cli import output as cli_output
from gpubp.cli.written_files import check_output
from gpubp.errors import ConfigurationError
from gpubp.tables.comparison import Comparison
from gpubp.tables.metrics import finite_only
from gpubp.tables.model import TabularModel
from gpubp.tables.prepared import Prepared
from gpubp.tables.recipe import Recipe
from gpubp.tables.report import TrainingFacts, check_installed, write_report
from gpubp.tables.streamed import StreamedTable


def training_result(
    model: TabularModel,
    prepared: Prepared | StreamedTable,
    path: Path,
    seconds: float,
    compared: Comparison | None,
    processes: distributed.Communicator | None = None,
    better: str = "",
) -> dict[str, Any]:
    """Return what a training did, as ``--json`` prints it.

    Parameters
    ----------
    path : Path
        The model file.
    seconds : float
        How long it trained.
    compared : Comparison or None
        The measures of the test part of a table in memory.
    processes : Communicator or None
        Of a training by several processes.
    better : str
        What there is to go by where test rows are few.
    """
    net, epochs = model.net, max(each.history.epochs for each in model.nets)
    result: dict[str, Any] = {
        "out": str(path),
        "task": model.preprocessing.task,
        "target": model.preprocessing.target,
        "members": len(model.nets),
        **{f"{part}_rows": prepared.rows(part) for part in ("train", "validation", "test")},
        "epochs": epochs,
        "stopped": net.history.stopped,
        "backend": net.backend.name,
        "seconds": round(seconds, 3),
    }
    if processes is not None:
        rate = prepared.rows("train") * epochs / seconds
        result |= {
            "ranks": processes.size,
            "rows_per_second": round(rate),
            "rows_per_second_a_rank": round(rate / processes.size),
            "communication_share": round(processes.seconds / seconds, 4),
        }
    if compared is not None:
        result |= compared.to_dict() | {
            "cautions": compared.cautions(prepared.rows("test"), better)
        }
    elif prepared.rows("test"):
        result |= finite_only(model.test(prepared))
    return result


def check_page(page: Path, data: str, model: Path, apart: bool) -> None:
    """Find out before the training whether the page of ``--report`` can be made and written.

    Raises
    ------
    ConfigurationError
        When the table is read while training or by several processes, which is `apart`, or the page
        would be written over the table or the model.
    OutputPathError, MissingExtraError
        When it cannot be written, or Jinja2 or Matplotlib is not installed.
    """
    if apart:
        raise ConfigurationError(
            f"--report {page} of a table that is read while training, or by several processes;"
            " one in memory is needed, or `gpubp report` afterwards"
        )
    check_output(page, [data], "--report")
    if page.resolve() == model.resolve():
        raise ConfigurationError(
            f"--report {page} is the model file as well; the name of another file is needed"
        )
    check_installed()


def write_page(
    page: Path,
    model: TabularModel,
    prepared: Prepared,
    recipe: Recipe,
    compared: Comparison | None,
) -> None:
    """Write a report on the test part; without one, on the validation or the training part."""
    part = next(name for name in ("test", "validation", "train") if prepared.rows(name))
    facts = TrainingFacts(
        rows=prepared.table.take(prepared.split.train),
        measures=compared.measures if compared else {},
        part=f"the {part} part",
        notes=prepared.notes,
        settings=asdict(recipe),
        command=shlex.join(["gpubp", *sys.argv[1:]]),
    )
    write_report(page, model, prepared.table.take(getattr(prepared.split, part)), facts)
    cli_output.note(f"the report is written to {page}")
