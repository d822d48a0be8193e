"""A model card in Markdown, with Hugging Face's headings, of what a model file holds."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpubp import __version__
from gpubp.tables.columns import Column
from gpubp.tables.model import TabularModel
from gpubp.tables.names_column import NamesColumn
from gpubp.tables.numeric_column import NumericColumn
from gpubp.tables.ordered_column import OrderedColumn

MOST_NAMES = 20  # classes or categories that are written out
CLASSES = {"classification": "TabularClassifier", "regression": "TabularRegressor"}

TEMPLATE = """\
---
library_name: gpubp
pipeline_tag: tabular-{task}
---

# Model card for {name}

## Model Details

### Model Description

{what} of {target}, by gpubp: {networks} of dense layers, {sizes}, {parameters} parameters in all.

- **Model type:** {kind}
- **Answers:** {answers}
- **Seed:** {seed}

## Uses

### Direct Use

Predicting {target} for rows of a table that has the columns below and comes from where the training
table came from.

### Out-of-Scope Use

Rows from another population, another time or another way of measuring; decisions about people that
nobody checks. Whoever publishes this card knows more: say it here.

## Bias, Risks, and Limitations

- The model has learnt what its training table says, its gaps and its biases with it.
- Numbers far outside the training table are not extrapolated: the answer there is a guess.
- A category that training did not see is taken as unknown; `--strict` refuses it.
{limits}
## How to Get Started with the Model

```sh
pip install 'gpubp[cli]=={version}'
gpubp predict {file} TABLE.csv
```

```python
from gpubp import {estimator}

model = {estimator}.load({path!r})
model.predict(frame)
```

## Training Details

### Training Data

{columns} columns and the target {target}. The model file does not hold how many rows there were.

| column | type | what training saw |
|---|---|---|
{rows}
{notes}
## Evaluation

{evaluation}

## Technical Specifications

- gpubp {version} wrote this card and reads the model.
- SHA-256 of the model file: {digest}
"""


@dataclass(frozen=True)
class Measured:
    """What a model reached on a table, and which table that was."""

    measures: dict[str, float]
    rows: int
    name: str


def model_card(model: TabularModel, path: Path, measured: Measured | None) -> str:
    """Return the card; names that come from data are escaped, so that none is read as Markdown."""
    preprocessing, net = model.preprocessing, model.net
    count, spec = len(model.nets), net.spec
    return TEMPLATE.format(
        task=preprocessing.task,
        name=escaped(path.name),
        what=preprocessing.task.capitalize(),
        target=escaped(preprocessing.target),
        networks="one network" if count == 1 else f"the mean of {count} networks",
        sizes=" -> ".join(map(str, spec.sizes)),
        parameters=f"{sum(each.parameters.size for each in model.nets):,}",
        kind=f"{', '.join(sorted(set(spec.activation))) or 'linear'}, {spec.output}, {spec.dtype}",
        answers=_names(preprocessing.classes) or "a number",
        seed=spec.seed,
        limits="" if measured else "- How right it is was not measured for this card.\n",
        version=__version__,
        file=shlex.quote(" ".join(path.name.split())),
        estimator=CLASSES[preprocessing.task],
        path=path.name,
        columns=len(preprocessing.columns),
        rows="\n".join(map(_row, preprocessing.columns)),
        notes="".join(f"\n- {escaped(note)}" for note in preprocessing.notes),
        evaluation=_evaluation(measured),
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def escaped(text: Any) -> str:
    """Return text in one line in which no character means anything to Markdown or HTML."""
    return re.sub(r"([!\"#$&*/:;<>?@\[\\\]^_`{|}~])", r"\\\1", " ".join(str(text).split()))


def _names(names: Any) -> str:
    shown = ", ".join(map(escaped, names[:MOST_NAMES]))
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _row(column: Column) -> str:
    match column:
        case NumericColumn():
            kind, seen = column.kind, _spread(column)
        case NamesColumn():
            kind, seen = "names", _names(column.vocabulary)
        case OrderedColumn():
            kind, seen = "names in order", _names(column.order)
        case _:
            kind, seen = "text", "hashed words"
    return f"| {escaped(column.name)} | {kind} | {seen} |"


def _spread(column: NumericColumn) -> str:
    mean, scale = column.standardisation.mean, column.standardisation.scale
    if column.kind == "time":  # seconds from 1970 on
        return f"about {np.datetime64(round(mean), 's')}, scale {scale / 86_400:.3g} days"
    return f"mean {mean:g}, scale {scale:g}"


def _evaluation(measured: Measured | None) -> str:
    if measured is None:
        return "No table was given to measure it on: `gpubp card MODEL DATA`."
    lines = "\n".join(f"| {name} | {value:.6g} |" for name, value in measured.measures.items())
    return f"""\
### Testing Data

{measured.rows} rows of {escaped(measured.name)}. The model file does not say whether it was trained
on any of them.

### Results

| measure | value |
|---|---|
{lines}"""
