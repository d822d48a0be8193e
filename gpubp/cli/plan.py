"""The command `plan`: what more devices would bring, before anyone rents them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gpubp import distributed
from gpubp.checks import checked_whole
from gpubp.cli import output as cli_output
from gpubp.cli.options import BackendName, Json
from gpubp.cli.planning import (
    MOST_DEVICES,
    WORTH,
    Constants,
    paying_batch,
    plan,
    read_constants,
    verdict,
)
from gpubp.files import cache_folder, check_writable, write_atomically


def plan_command(
    parameters: Annotated[float, typer.Option(help="Of the network.")] = 1e8,
    batch: Annotated[float, typer.Option(help="Rows a step over all devices.")] = 65536,
    gpus: Annotated[int, typer.Option(help="Devices at most.")] = MOST_DEVICES,
    node: Annotated[int | None, typer.Option(help="Devices a node.")] = None,
    flops: Annotated[float | None, typer.Option(help="Operations a second and device.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Latency in a node, s.")] = None,
    bandwidth: Annotated[float | None, typer.Option(help="In a node, bytes/s.")] = None,
    node_alpha: Annotated[float | None, typer.Option(help="Latency between nodes, s.")] = None,
    node_bandwidth: Annotated[float | None, typer.Option(help="Between nodes, bytes/s.")] = None,
    constants: Annotated[
        Path | None, typer.Option(help="Constants that --calibrate wrote; else those assumed.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure the constants here and write them.")
    ] = False,
    backend: BackendName = "auto",
    as_json: Json = False,
) -> None:
    """Estimate the time of a step on 1 to 4096 devices, and say when more do not help."""
    given = {
        "node": node,
        "flops": flops,
        "alpha": alpha,
        "bandwidth": bandwidth,
        "node_alpha": node_alpha,
        "node_bandwidth": node_bandwidth,
    }
    if calibrate:
        _calibrate(constants or cache_folder() / "plan.json", backend, as_json)
        return
    used = Constants() if constants is None else read_constants(constants)
    own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if own:
        used = replace(used, **own, source=f"{', '.join(own)} given; others {used.source}")
    checked_whole("gpus", gpus)
    rows = plan(parameters, batch, gpus, used)
    pays = paying_batch(parameters, rows[-1].devices, used)
    if as_json:
        described = {"constants": asdict(used), "rows": [asdict(row) for row in rows]}
        batch_that_pays = pays if math.isfinite(pays) else None
        print(json.dumps(described | {"paying_batch": batch_that_pays, "verdict": verdict(rows)}))
        return
    print(f"{parameters:,.0f} parameters, {batch:,.0f} rows a step over all devices")
    print(f"constants: {used.source}")
    for name, value in asdict(used).items():
        if name != "source":
            print(f"  {name} {value:g}")
    cli_output.plan(rows)
    print(verdict(rows))
    enough = f"{pays:,.0f} rows" if math.isfinite(pays) else "no batch"
    print(f"{rows[-1].devices} devices are used at {WORTH:.0%} from a batch of {enough} on")


def _calibrate(path: Path, backend: str, as_json: bool) -> None:
    from gpubp.cli.calibration import calibrate

    processes = distributed.communicator() if distributed.is_launched() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    check_writable(path)
    constants = calibrate(processes, backend)
    if processes is None or processes.is_root:
        write_atomically(path, json.dumps(asdict(constants), indent=1).encode())
        print(json.dumps(asdict(constants), indent=None if as_json else 1))
        cli_output.note(f"written to {path}; use it with: gpubp plan --constants {path}")
