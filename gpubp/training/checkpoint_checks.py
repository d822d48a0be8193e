"""What a checkpoint must hold to go on from it: every field against the run that reads it.

A SHA-256 tells a torn file from a whole one, not an honest one from one that was made up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp.errors import CheckpointError, brief
from gpubp.training.checkpoint_files import Checkpoint

Test = Callable[[Any], bool]


class Expected(NamedTuple):
    """What the run that goes on has.

    Attributes
    ----------
    arrays : dict of str to (shape, dtype)
        The arrays that every checkpoint of the run has, but for the losses.
    losses : dtype
        Of the losses of the epoch so far.
    steps : int
        Batches of an epoch.
    callbacks : int
        Callbacks with a memory; None where this process has none of them.
    """

    arrays: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
    losses: np.dtype[Any]
    steps: int
    callbacks: int | None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_factor(value: Any) -> bool:
    return _is_float(value) and 0 < value < math.inf


def _is_float(value: Any) -> bool:
    """Tell whether JSON holds a number that is, or goes into, a float; infinity is one."""
    return type(value) is float or (type(value) is int and abs(value) < 2**53)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_float, value))


def _are_measures(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_are_numbers, value.values()))


def _are_memories(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_STATE: dict[str, tuple[Test, str]] = {
    **dict.fromkeys(
        ("step", "epoch", "updates", "first_epoch", "first_step", "index"),
        (_is_count, "a whole number from 0"),
    ),
    "rate_factor": (_is_factor, "a finite number above 0"),
    "history": (lambda value: isinstance(value, dict), "a dictionary"),
    "callbacks": (_are_memories, "a list of dictionaries"),
}
_HISTORY: dict[str, tuple[Test, str]] = {
    **dict.fromkeys(("loss", "validation_loss", "seconds"), (_are_numbers, "a list of numbers")),
    "stopped": (_is_text, "a text"),
    "metrics": (_are_measures, "lists of numbers by name"),
}


def check_fields(checkpoint: Checkpoint, expected: Expected, folder: Path) -> None:
    """Refuse a checkpoint that no run such as this one can have written.

    Raises
    ------
    CheckpointError
        Names the first field that cannot be, and its value.
    """
    state = checkpoint.state
    _check_table(state, _STATE, folder, "state")
    history = state["history"]
    _check_table({"metrics": {}, **history}, _HISTORY, folder, "history")
    epochs, index = state["epoch"] - state["first_epoch"], state["index"]
    done = epochs * expected.steps + index
    per_epoch = [history["loss"], history["seconds"]]
    measured = [history["validation_loss"], *history.get("metrics", {}).values()]
    rules = (
        (epochs >= 0, f"epoch is {state['epoch']} and first_epoch {state['first_epoch']}"),
        (index < expected.steps, f"index is {index} of {expected.steps} batches"),
        (state["step"] - state["first_step"] == done, f"step is {state['step']}, not {done} done"),
        (state["updates"] <= state["step"], f"updates is {state['updates']}"),
        (all(len(each) == epochs for each in per_epoch), f"history is not of {epochs} epochs"),
        (all(len(each) <= epochs for each in measured), f"history is longer than {epochs} epochs"),
        (
            expected.callbacks in (None, len(state["callbacks"])),
            f"callbacks have {len(state['callbacks'])} memories",
        ),
    )
    for right, what in rules:
        if not right:
            raise _refused(folder, f"its {what}")
    wanted = expected.arrays | {"losses": ((index,), expected.losses)}
    _check_arrays(checkpoint.arrays, wanted, len(state["callbacks"]), folder)


def check_memory(known: dict[str, Any], kept: dict[str, Any], who: str, folder: Path) -> None:
    """Refuse a callback's memory that lacks what every one of its kind has.

    Raises
    ------
    CheckpointError
        Names the callback, the field and its value.
    """
    for name, value in known.items():
        if isinstance(value, np.ndarray):
            continue
        other = kept.get(name)
        alike = _is_float(other) if _is_float(value) else type(other) is type(value)
        if not alike:
            raise _refused(folder, f"the {name} of {who} is {brief(kept.get(name))}")


def _check_table(
    kept: dict[str, Any], table: dict[str, tuple[Test, str]], folder: Path, what: str
) -> None:
    for name, (test, needed) in table.items():
        if name not in kept or not test(kept[name]):
            value = kept.get(name)
            raise _refused(folder, f"its {name} is {brief(value)}, where {needed} is needed")
    strange = sorted(set(kept) - set(table))
    if strange:
        raise _refused(folder, f"its {what} has a field {brief(strange[0])}")


def _check_arrays(
    kept: dict[str, Any],
    wanted: dict[str, tuple[tuple[int, ...], np.dtype[Any]]],
    callbacks: int,
    folder: Path,
) -> None:
    for name, (shape, dtype) in wanted.items():
        array = kept.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            has = "is not there" if array is None else f"is {array.dtype} {array.shape}"
            raise _refused(folder, f"its array {name!r} {has}, where {dtype} {shape} is needed")
        if not np.isfinite(array).all():
            raise _refused(folder, f"its array {name!r} has a number that is not finite")
    owners: Sequence[str] = [f"callback {index} " for index in range(callbacks)]
    for name in set(kept) - set(wanted):
        if not name.startswith(tuple(owners)):
            raise _refused(folder, f"its array {brief(name)} belongs to nothing")


def _refused(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint in {folder} cannot be one of this run: {why}; take another folder"
    )
