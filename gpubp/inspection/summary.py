"""A network at a glance: its layers, their parameters, and what training takes."""

from __future__ import annotations

from dataclasses import dataclass

from gpubp.inspection.memory import MemoryPlan, plan
from gpubp.nn.backprop import LayerStack
from gpubp.nn.layers import Dense
from gpubp.text import ShownAsText, size_text, text_table


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes
    ----------
    kind, activation : str
        What it is, with its normalisation, and its function.
    inputs, outputs : int
        Numbers in and out, a row.
    shapes : dict of str to tuple of int
        Of its parameters, by name.
    parameters : int
        How many numbers are trained.
    """

    kind: str
    inputs: int
    outputs: int
    activation: str
    shapes: dict[str, tuple[int, ...]]
    parameters: int


@dataclass(frozen=True, repr=False)
class Summary(ShownAsText):
    """All layers, and what training takes.

    Attributes
    ----------
    layers : tuple of LayerSummary
        First to last.
    parameters : int
        Of all layers.
    dtype, backend, reason : str
        Of the parameters; where the network is, and why.
    notes : tuple of str
        What is slower there than it could be.
    memory : MemoryPlan
        What training keeps in memory, for a batch size.
    """

    layers: tuple[LayerSummary, ...]
    parameters: int
    dtype: str
    backend: str
    reason: str
    notes: tuple[str, ...]
    memory: MemoryPlan

    def __str__(self) -> str:
        head = ("layer", "kind", "inputs", "outputs", "activation", "shapes", "parameters")
        rows = [
            (
                str(number),
                layer.kind,
                f"{layer.inputs:,}",
                f"{layer.outputs:,}",
                layer.activation,
                ", ".join("x".join(map(str, shape)) for shape in layer.shapes.values()),
                f"{layer.parameters:,}",
            )
            for number, layer in enumerate(self.layers, start=1)
        ]
        size, training = size_text(self.memory.weights), size_text(self.memory.total)
        return "\n".join(
            [
                *text_table(head, rows),
                f"{self.parameters:,} parameters in {self.dtype}, {size};"
                f" training on {self.memory.batch_size} rows a step takes {training}",
                f"on {self.backend}: {self.reason}",
                *self.notes,
            ]
        )

    __repr__ = __str__


def summarize(stack: LayerStack, batch_size: int, moments: int) -> Summary:
    """Return the summary of a network, with the memory of batches of so many rows."""
    layers = []
    for layer in stack.layers:
        kind, norm = layer.kind or "dense", getattr(layer, "normalization", None)
        shapes = dict(layer.parameter_shapes())
        size = layer.size
        name = layer.activation.name if isinstance(layer, Dense) else ""
        kind += f", {norm} norm" if norm else ""
        layers.append(LayerSummary(kind, layer.inputs, layer.outputs, name, shapes, size))
    backend = stack.backend
    return Summary(
        tuple(layers),
        sum(layer.parameters for layer in layers),
        stack.dtype.name,
        backend.device,
        backend.reason,
        tuple(backend.notes),
        plan(stack, batch_size, moments),
    )
