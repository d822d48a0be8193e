"""onnxruntime: the forward pass of a network of dense layers."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from cases import Case, in_chunks, rows_to_predict

OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def versions() -> dict[str, str]:
    """Return the version."""
    return {"onnxruntime": onnxruntime.__version__}


class OnnxRuntime:
    """A session of a model made here, on the CPU."""

    def predict(self, case: Case) -> Callable[[int], int]:
        """Predict all rows."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        session = onnxruntime.InferenceSession(
            _model(case).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        x = rows_to_predict(case)
        if case.file:
            return in_chunks(lambda part: session.run(None, {"y0": part})[0], x, case.sizes[-1])

        def repeat(count: int) -> int:
            for _ in range(count):
                session.run(None, {"y0": x})
            return count

        return repeat


def _model(case: Case) -> onnx.ModelProto:
    random, helper = np.random.default_rng(0), onnx.helper
    nodes, weights = [], []
    for layer, shape in enumerate(zip(case.sizes, case.sizes[1:], strict=False), start=1):
        last = layer == len(case.sizes) - 1
        inputs = [f"y{layer - 1}", f"w{layer}", f"b{layer}"]
        operator = "Softmax" if last else OPERATORS[case.activation]
        nodes.append(helper.make_node("Gemm", inputs, [f"z{layer}"]))
        nodes.append(helper.make_node(operator, [f"z{layer}"], [f"y{layer}"]))
        for name, size in ((f"w{layer}", shape), (f"b{layer}", shape[1:])):
            values = (0.1 * random.standard_normal(size)).astype(np.float32)
            weights.append(onnx.numpy_helper.from_array(values, name))
    ends = [
        helper.make_tensor_value_info(f"y{layer}", onnx.TensorProto.FLOAT, ["rows", size])
        for layer, size in ((0, case.sizes[0]), (len(case.sizes) - 1, case.sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


PEERS = {"onnxruntime": OnnxRuntime}
