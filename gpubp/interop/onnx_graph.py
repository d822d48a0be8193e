"""A graph of ONNX under construction."""

from __future__ import annotations

from typing import Any

import numpy as np

OUTPUTS = ("outputs", "probabilities", "label")


class Graph:
    """Nodes and constants of a graph under construction; names are made as they are needed."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._taken = {"", *OUTPUTS}

    def name(self, wanted: str) -> str:
        """Return this name, or with as many underscores behind it as make it the only one."""
        escaped = wanted.encode(errors="backslashreplace").decode()
        while escaped in self._taken:
            escaped += "_"
        self._taken.add(escaped)
        return escaped

    def node(
        self,
        operator: str,
        inputs: list[str],
        domain: str = "",
        out: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node and return the name of its output."""
        name = out or self.name(f"{operator.lower()}_{len(self.nodes)}")
        made = self.onnx.helper.make_node(operator, inputs, [name], domain=domain, **attributes)
        self.nodes.append(made)
        return name

    def constant(self, value: Any) -> str:
        """Add a constant array and return its name."""
        name = self.name(f"constant_{len(self.constants)}")
        array = np.asarray(value)
        if array.dtype.kind in "OU":
            tensor = self.onnx.helper.make_tensor(
                name,
                self.onnx.TensorProto.STRING,
                array.shape,
                [str(text).encode(errors="backslashreplace") for text in array.ravel()],
            )
        else:
            tensor = self.onnx.numpy_helper.from_array(array, name)
        self.constants.append(tensor)
        return name

    def number(self, value: float) -> str:
        """Add a constant number, float32, and return its name."""
        return self.constant(np.float32(value))
