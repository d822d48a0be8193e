"""One peer in its own process: takes lines of JSON on standard input, answers each with one.

    {"prepare": {...a case...}}          -> {}
    {"run": 20}                          -> {"seconds": 0.1, "done": 20, "memory": ...}
    {"train": 3}                         -> {"seconds": 9.1, "epochs": 4, "accuracy": 0.976}
    {"versions": 1}                      -> {"versions": {...}}
    {"forget": 1}                        -> {}, and the memory of a shared device is free again
    {"ceilings": 1}                      -> {"device": ..., "rates": {...}}, of gpu-products alone

An answer {"error": "..."} says why there is none.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

from cases import Case
from peak_memory import forget_peak, grown_memory
from process import LONG

MOST_EPOCHS = 30
CLOCK = os.environ.get("GPUBP_BENCHMARK_CLOCK", "wall")  # as cpu.py --clock has it
MODULES = {
    "gpubp": "numpy_peers",
    "gpubp-fit": "numpy_peers",
    "gpubp-numpy": "numpy_peers",
    "gpubp-bfloat16": "numpy_peers",
    "gpubp-compiled": "numpy_peers",
    "gpubp-estimator": "numpy_peers",
    "floor": "numpy_peers",
    "torch": "torch_peer",
    "torch-compile": "torch_peer",
    "torch-bfloat16": "torch_peer",
    "jax": "jax_peer",
    "jax-scan": "jax_peer",
    "sklearn": "sklearn_peer",
    "onnxruntime": "onnxruntime_peer",
    "gpu-gpubp": "gpu_gpubp_peer",
    "gpu-products": "gpu_gpubp_peer",
    "gpu-torch": "gpu_torch_peer",
    "gpu-torch-compile": "gpu_torch_peer",
    "gpu-torch-graph": "gpu_torch_peer",
    "gpu-jax": "gpu_jax_peer",
    "gpu-jax-scan": "gpu_jax_peer",
    "hanging": "failing_peers",
    "dying": "failing_peers",
    "out-of-memory": "failing_peers",
    "failing-later": "failing_peers",
    "well": "failing_peers",
}


class Worker:
    """What is prepared, and the peer that prepared it."""

    def __init__(self, name: str) -> None:
        module = importlib.import_module(f"peers.{MODULES[name]}")
        self.peer = module.PEERS[name]()
        self.versions: dict[str, str] = module.versions()
        self.free = getattr(module, "free", lambda: None)  # gives back what its library keeps
        self.case: Case | None = None
        self.repeat: Any = None
        self.taken = 0.0  # seconds of the last repetition

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        if "versions" in request:
            return {"versions": self.versions}
        if "ceilings" in request:
            found: dict[str, Any] = self.peer.ceilings()
            return found
        if "prepare" in request:
            self.forget()
            settings = request["prepare"]
            self.case = Case(**(settings | {"sizes": tuple(settings["sizes"])}))
            if self.case.kind != "accuracy":
                self.repeat = getattr(self.peer, self.case.kind)(self.case)
            return {}
        if "forget" in request:
            self.forget()
            return {}
        if "run" in request:
            if self.taken < LONG:  # wakes threads, fills caches; not timed
                self.repeat(max(1, request["run"] // 10))
            clock = time.process_time if CLOCK == "processor" else time.perf_counter
            start = clock()
            done = self.repeat(request["run"])
            seconds = clock() - start
            if isinstance(done, tuple):  # measured on the device
                done, seconds = done
            self.taken = seconds / done
            return {"seconds": seconds, "done": done, "memory": grown_memory()}
        return self.train(request["train"])

    def forget(self) -> None:
        """Forget what is prepared and give its memory back."""
        self.repeat, self.taken = None, 0.0
        gc.collect()
        self.free()
        forget_peak()

    def train(self, seed: int) -> dict[str, Any]:
        """Train until the accuracy is reached; what is not training is not timed."""
        assert self.case is not None
        epoch, accuracy = self.peer.trainer(self.case, seed)
        seconds = 0.0
        for epochs in range(1, MOST_EPOCHS + 1):
            start = time.perf_counter()
            epoch()
            seconds += time.perf_counter() - start
            reached = accuracy()
            if reached >= self.case.target:
                return {"seconds": seconds, "epochs": epochs, "accuracy": reached}
        return {"error": f"accuracy {reached:.4f} after {MOST_EPOCHS} epochs"}


def main() -> None:
    """Answer until standard input ends; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        worker: Worker | None = Worker(sys.argv[1])
        problem = ""
    except Exception as error:
        traceback.print_exc()
        worker, problem = None, f"{type(error).__name__}: {error}"
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line)) if worker else {"error": problem}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
