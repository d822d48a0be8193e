"""How long a step takes on how many devices: a model of latencies and rates, its constants stated.

The time of a message of n bytes is alpha + n beta (Hockney 1994); of collectives over P devices,
Thakur, Rabenseifner and Gropp 2005.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gpubp.checks import check_positive
from gpubp.errors import ConfigurationError, brief

MOST_DEVICES = 4096
WORTH = 0.8  # efficiency from which on devices are taken to pay
LITTLE = 1.5  # times as fast, with twice the devices or more: said to bring little
BUCKET = 8 << 20  # bytes; see `gpubp.distributed.host_sums`


@dataclass(frozen=True)
class Constants:
    """What the model knows of devices and of what connects them.

    Attributes
    ----------
    flops : float
        Rate of a device in training, 1/s: six operations a parameter and row.
    update : float
        Seconds a parameter that the optimizer takes.
    node : int
        Devices of a node.
    alpha, bandwidth : float
        Latency in seconds, and bytes a second, within a node.
    node_alpha, node_bandwidth : float
        The same between nodes, for all devices of a node together.
    source : str
        Where the numbers are from.
    """

    flops: float = 30e12
    update: float = 5e-12
    node: int = 8
    alpha: float = 3e-6
    bandwidth: float = 300e9
    node_alpha: float = 8e-6
    node_bandwidth: float = 45e9
    source: str = (
        "assumed, not measured: float32 on GPUs of 2024, NVLink in a node, 400 Gb/s between"
    )

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "source":
                check_positive(**{name: value})


@dataclass(frozen=True)
class Row:
    """A line of the plan: times in seconds."""

    devices: int
    compute: float
    allreduce: float
    exposed: float  # what of it is not hidden behind the backward pass
    algorithm: str
    step: float
    speedup: float
    efficiency: float


def ring(devices: int, size: float, alpha: float, bandwidth: float) -> float:
    """Return the seconds of an allreduce of `size` bytes around a ring."""
    return 2 * (devices - 1) * alpha + 2 * size * (devices - 1) / devices / bandwidth


def tree(devices: int, size: float, alpha: float, bandwidth: float) -> float:
    """Return the seconds of a reduction and a broadcast over binary trees."""
    return 2 * math.ceil(math.log2(devices)) * alpha + 2 * size / bandwidth if devices > 1 else 0.0


def allreduce(devices: int, size: float, constants: Constants) -> tuple[float, str]:
    """Return the seconds of the fastest way to add up `size` bytes, and its name.

    Within a node a ring or a tree; over several also both over all devices, at the latency and
    bandwidth between nodes, and in two levels: in each node, then between them.
    """
    if devices == 1:
        return 0.0, "-"
    near = (constants.alpha, constants.bandwidth)
    far = (constants.node_alpha, constants.node_bandwidth)
    here = near if devices <= constants.node else far
    ways = {"ring": ring(devices, size, *here), "tree": tree(devices, size, *here)}
    nodes = math.ceil(devices / constants.node)
    if 1 < nodes < devices:
        inside = ring(constants.node, size, *near)
        between = min(ring(nodes, size, *far), tree(nodes, size, *far))
        ways["two levels"] = inside + between
    name = min(ways, key=lambda way: ways[way])
    return ways[name], name


def plan(
    parameters: float, batch: float, most: int, constants: Constants, itemsize: int = 4
) -> list[Row]:
    """Return the times for 1, 2, 4, ... devices, up to `most` and 4,096.

    Sums of more than 8 MiB are begun while the backward pass, two thirds of the computation, is
    under way.

    Raises
    ------
    ConfigurationError
        When a number is out of its range.
    """
    for name, value in (("parameters", parameters), ("batch", batch), ("gpus", most)):
        if not 1 <= value < math.inf:
            raise ConfigurationError(f"{name} is {brief(value)}; a finite number from 1 is needed")
    counts = [1 << power for power in range(int(math.log2(min(most, MOST_DEVICES))) + 1)]
    if most <= MOST_DEVICES and most not in counts:
        counts.append(int(most))
    alone = _row(1, parameters, batch, constants, itemsize, 0.0).step
    return [_row(count, parameters, batch, constants, itemsize, alone) for count in counts]


def _row(
    devices: int, parameters: float, batch: float, constants: Constants, itemsize: int, alone: float
) -> Row:
    compute = 6 * parameters * math.ceil(batch / devices) / constants.flops
    size = parameters * itemsize
    time, name = allreduce(devices, size, constants)
    exposed = time
    if size > BUCKET:
        exposed = max(time * BUCKET / size, time - compute * 2 / 3)
    step = compute + parameters * constants.update + exposed
    alone = alone or step
    speedup = alone / step
    return Row(devices, compute, time, exposed, name, step, speedup, speedup / devices)


def paying_batch(parameters: float, devices: int, constants: Constants) -> float:
    """Return the smallest batch, a power of two, at which so many devices are 80 % efficient.

    Infinity where none up to 2^40 is.
    """
    for power in range(41):
        rows = plan(parameters, 2**power, devices, constants)
        if rows[-1].efficiency >= WORTH:
            return float(2**power)
    return math.inf


def verdict(rows: list[Row]) -> str:
    """Say plainly how many devices help."""
    best = max(rows, key=lambda row: row.speedup)
    paying = [row for row in rows if row.efficiency >= WORTH][-1]
    text = f"{_devices(paying.devices)} used at {WORTH:.0%} or more"
    if best is not paying:
        gain = best.speedup / paying.speedup
        little = "bring little: " if gain < LITTLE else ""
        text += f"; more {little or 'help, at less: '}{best.devices} are {gain:.3g} times as fast"
    if best is not rows[-1]:
        text += f"; more than {best.devices} do not help: there a step takes longer again"
    return f"{text} ({best.speedup:.3g} times one at most)"


def _devices(count: int) -> str:
    return f"up to {count} devices are" if count > 1 else "only one device is"


def read_constants(path: Path) -> Constants:
    """Return the constants that `gpubp plan --calibrate` wrote.

    Raises
    ------
    ConfigurationError
        When the file holds none.
    """
    try:
        kept: Any = json.loads(path.read_text(encoding="utf-8"))
        return replace(Constants(), **kept)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"no constants could be read from {path}: {error}") from error
