"""PyTorch on a GPU: eager, compiled with max-autotune, and recorded as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch._dynamo
from cases import CLASSES, Case

ACTIVATIONS = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}
BATCHES = 16
WARM_UPS = 4
CHUNK = 1 << 16


def versions() -> dict[str, str]:
    """Return the versions."""
    return {"torch": torch.__version__, "torch's CUDA": str(torch.version.cuda)}


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that work takes on the device."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def free() -> None:
    """Give back the memory that PyTorch keeps for other tensors, and what it has compiled."""
    torch._dynamo.reset()
    torch.cuda.empty_cache()


class Torch:
    """Eager, Adam fused and capturable."""

    mode = ""

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise RuntimeError("PyTorch sees no GPU")

    def network(self, case: Case) -> Any:
        """Return a new network for a case, in its precision."""
        exact = "high" if case.precision == "tf32" else "highest"
        torch.set_float32_matmul_precision(exact)
        torch.manual_seed(0)
        layers: list[torch.nn.Module] = []
        for inputs, outputs in zip(case.sizes, case.sizes[1:], strict=False):
            layers += [torch.nn.Linear(inputs, outputs), ACTIVATIONS[case.activation]()]
        return torch.nn.Sequential(*layers[:-1]).cuda()

    def context(self, case: Case) -> AbstractContextManager[Any]:
        """Return the context of a forward pass: float32 weights, products in bfloat16."""
        half = case.precision == "bfloat16"
        return (
            torch.autocast("cuda", torch.bfloat16, cache_enabled=False) if half else nullcontext()
        )

    def step(self, case: Case) -> Callable[[int], tuple[int, float]]:
        """Train on given batches on the device."""
        torch._dynamo.reset()  # no case is made slower by what was compiled for another
        net = self.network(case)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True, capturable=True)

        def loss_of(x: Any, y: Any) -> Any:
            with self.context(case):
                return torch.nn.functional.cross_entropy(net(x), y)

        if self.mode == "compile":
            loss_of = torch.compile(loss_of, mode="max-autotune", dynamic=False)
        batches = [
            (
                torch.rand(case.batch, case.sizes[0], device="cuda"),
                torch.randint(0, CLASSES, (case.batch,), device="cuda"),
            )
            for _ in range(BATCHES)
        ]

        def train(x: Any, y: Any) -> None:
            optimizer.zero_grad(set_to_none=True)  # in a recording the gradients are its own
            loss_of(x, y).backward()
            optimizer.step()

        step = self.record(train, batches[0]) if self.mode == "graph" else train

        def repeat(count: int) -> tuple[int, float]:
            def steps() -> None:
                for index in range(count):
                    step(*batches[index % BATCHES])

            return count, timed(steps)

        return repeat

    def record(self, train: Callable[[Any, Any], None], batch: tuple[Any, Any]) -> Any:
        """Return the step as a CUDA graph that a batch is copied into."""
        x, y = (part.clone() for part in batch)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                train(x, y)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            train(x, y)

        def step(new_x: Any, new_y: Any) -> None:
            x.copy_(new_x)
            y.copy_(new_y)
            graph.replay()

        return step

    def predict(self, case: Case) -> Callable[[int], tuple[int, float]]:
        """Predict all rows, a chunk at a time into one result."""
        torch._dynamo.reset()
        net = self.network(case).eval()
        x = torch.rand(case.rows, case.sizes[0], device="cuda")
        result = torch.empty(case.rows, case.sizes[-1], device="cuda")

        def forward(part: Any) -> Any:
            with self.context(case):
                return torch.softmax(net(part), 1)

        chosen = forward
        if self.mode == "compile":
            chosen = torch.compile(forward, mode="max-autotune", dynamic=False)

        @torch.inference_mode()
        def predict() -> None:
            for start in range(0, case.rows, CHUNK):
                result[start : start + CHUNK] = chosen(x[start : start + CHUNK])

        def repeat(count: int) -> tuple[int, float]:
            return count, timed(lambda: [predict() for _ in range(count)])

        return repeat


class TorchCompile(Torch):
    """Forward pass, loss and gradient compiled."""

    mode = "compile"


class TorchGraph(Torch):
    """The whole step recorded; prediction is as when eager."""

    mode = "graph"


PEERS: dict[str, type] = {
    "gpu-torch": Torch,
    "gpu-torch-compile": TorchCompile,
    "gpu-torch-graph": TorchGraph,
}
