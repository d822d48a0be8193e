"""A step of gradient descent as a page of its own: one HTML file that needs nothing else.

The page computes in JavaScript what the trace computes in Python: the files beside this one, joined
when a page is written. Adding a language is adding a table in `messages/`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.checks import checked_name
from gpubp.errors import ShapeError
from gpubp.files import write_atomically

if TYPE_CHECKING:
    from gpubp.inspection.trace import LayerTrace, Trace

FOLDER = Path(__file__).parent
# in the order of what they need of each other
SCRIPTS = (
    *("activations", "losses", "arithmetic", "formats", "explanations", "stages"),
    *("elements", "diagram", "pictures", "session", "words", "table", "formula", "running", "app"),
)
LANGUAGES = tuple(sorted(path.stem for path in (FOLDER / "messages").glob("*.json")))


@dataclass(frozen=True)
class PageNames:
    """What a page calls things.

    Attributes
    ----------
    inputs, outputs : sequence of str
        Names of what the first dense layer reads, and of the outputs; none leaves them numbered.
    target : str
        Name of the column that is predicted.
    title : str
        What stands above the page.
    members : int
        How many networks the model is, of which one is shown.
    units : (float, float) or None
        Scale and shift that turn an output into the units of the target, where there are any.
    row : int
        Which row of a table it is about, counted from 1; 0 for none.
    expected : str
        What that row should give.
    is_own : bool
        Whether that is the model's own answer.
    """

    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    target: str = ""
    title: str = ""
    members: int = 1
    units: tuple[float, float] | None = None
    row: int = 0
    expected: str = ""
    is_own: bool = False


def trace_model(trace: Trace, names: PageNames) -> dict[str, Any]:
    """Return what a page reads of a trace; layers before the first dense one are left out.

    Raises
    ------
    ShapeError
        When there are not as many names as inputs or outputs.
    """
    dense = [layer for layer in trace.layers if layer.kind is None]
    inputs, outputs = (_plain(rows) for rows in (dense[0].inputs, trace.expected))
    for what, given, rows in (
        ("inputs", names.inputs, inputs),
        ("outputs", names.outputs, outputs),
    ):
        if given and len(given) != len(rows[0]):
            raise ShapeError(f"{len(given)} names of {what}; {len(rows[0])} are needed")
    parameters = np.concatenate([part for layer in dense for part in _parameters(layer)])
    return {
        "layers": [_described(layer) for layer in dense],
        "parameters": base64.b64encode(parameters.astype("<f8").tobytes()).decode(),
        "x": inputs,
        "expected": outputs,
        "loss": {"name": trace.loss_name, "parameter": trace.loss_parameter},
        "learning_rate": trace.learning_rate,
        "inputs": list(map(str, names.inputs)) or None,
        "outputs": list(map(str, names.outputs)) or None,
        "target": names.target,
        "units": names.units,
        "title": names.title,
        "row": names.row,
        "expected_text": names.expected,
        "is_own": names.is_own,
        "members": names.members,
        "optimizer": trace.optimizer,
        "before": [layer.kind for layer in trace.layers if layer.kind is not None],
    }


def write_page(
    path: str | os.PathLike[str], models: Sequence[dict[str, Any]], language: str = "en"
) -> None:
    """Write a page of one model or more, as `trace_model` returns them.

    Raises
    ------
    UnknownNameError, OutputPathError
        When there is no such language, or the file cannot be written.
    """
    write_atomically(path, page_text(models, language).encode())


def check_language(language: str) -> None:
    """Raise UnknownNameError when there are no messages in a language."""
    checked_name("language", language, LANGUAGES)


def page_text(models: Sequence[dict[str, Any]], language: str = "en") -> str:
    """Return the page itself.

    Raises
    ------
    UnknownNameError
        When there is no such language.
    """
    check_language(language)
    messages = {name: json.loads(_read(f"messages/{name}.json")) for name in LANGUAGES}
    style, script = _read("page.css"), joined(_read(f"{name}.js") for name in SCRIPTS)
    parts = {
        "script_hash": _hash(script),
        "style_hash": _hash(style),
        "style": style,
        "messages": _embedded(messages),
        "data": _embedded({"language": language, "models": list(models)}),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _read("page.html"))


def joined(scripts: Iterable[str]) -> str:
    """Return modules as one, without what they import from and export to each other."""
    whole = "\n".join(scripts)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", whole, flags=re.M), flags=re.M)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """Return what lets a browser run this script, or use this style, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _embedded(value: Any) -> str:
    """Return JSON that ends no element of HTML, whatever names it holds."""
    return (
        json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    )


def _plain(rows: Any) -> list[list[float]]:
    return np.asarray(rows, np.float64).tolist()  # type: ignore[no-any-return]


def _parameters(layer: LayerTrace) -> list[Any]:
    parts = (layer.weight_before, layer.bias_before, layer.mix_before)
    return [np.ravel(part) for part in parts if part is not None]


def _described(layer: LayerTrace) -> dict[str, Any]:
    inputs, outputs = layer.weight_before.shape
    return {
        "inputs": inputs,
        "outputs": outputs,
        "activation": layer.activation,
        "mixing": layer.mix_before is not None,
        "residual": bool(layer.residual),
        "factor": layer.weight_factor or 1.0,
    }
