"""gpubp itself, and the floor: the matrix products of a step alone."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from cases import (
    BATCHES,
    CHUNKS,
    Case,
    all_rows,
    in_chunks,
    mnist,
    rows_to_predict,
    scaled,
    step_batches,
)
from default_network import PACE, default_rows

import gpubp
from gpubp.backends.cpu.host_kernels import host_kernels
from peers.gpubp_default import gpubp_default


def versions() -> dict[str, str]:
    """Return the versions that matter, and the kernels in use."""
    found = {
        "gpubp": gpubp.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    found["compiled kernels"] = host_kernels()[1]
    try:
        import threadpoolctl

        for library in threadpoolctl.threadpool_info():
            if library["user_api"] == "blas":
                found["blas"] = f"{library['internal_api']} {library['version']}"
                found["blas kernels"] = str(library.get("architecture"))
    except ImportError:
        pass
    return found


class Gpubp:
    """The library as a user calls it."""

    def network(self, case: Case, seed: int = 0, **settings: Any) -> gpubp.Network:
        """Return a new network for a case."""
        return gpubp.Network(
            case.sizes, case.activation, "softmax", backend="cpu", seed=seed, **settings
        )

    def step(self, case: Case) -> Callable[[int], int]:
        """Train on given batches."""
        net, batches, optimizer = self.network(case), step_batches(case), gpubp.Adam(1e-3)

        def repeat(count: int) -> int:
            for index in range(count):
                net.train_step(*batches[index % len(batches)], optimizer=optimizer)
            return count

        return repeat

    def epoch(self, case: Case) -> Callable[[int], int]:
        """Train on all rows, kept as bytes."""
        net, (x, y) = self.network(case, input_scale=1 / 255), all_rows(case)

        def repeat(count: int) -> int:
            net.fit(x, y, optimizer=gpubp.Adam(1e-3), epochs=count, batch_size=case.batch)
            return count

        return repeat

    def default(self, case: Case) -> Callable[[int], int]:
        """Train the default network for tables on all rows."""
        net, optimizer = gpubp_default(case)
        x, y = default_rows(case)
        settings: dict[str, Any] = {"batch_size": case.batch, "average": 1 - PACE}

        def repeat(count: int) -> int:
            net.fit(x, y, optimizer=optimizer, epochs=count, **settings)
            return count

        return repeat

    def predict(self, case: Case) -> Callable[[int], int]:
        """Predict all rows."""
        net, x = self.network(case), rows_to_predict(case)

        def repeat(count: int) -> int:
            for _ in range(count):
                net.predict(x)
            return count

        return repeat

    def trainer(self, case: Case, seed: int) -> tuple[Callable[[], object], Callable[[], float]]:
        """Train on MNIST."""
        x, y, x_test, y_test = mnist(case.mnist)
        net = self.network(case, seed, input_scale=1 / 255)

        def epoch() -> object:
            return net.fit(x, y, optimizer=gpubp.Adam(1e-3), epochs=1, batch_size=case.batch)

        return epoch, lambda: net.evaluate(x_test, y_test)["accuracy"]


class GpubpFit(Gpubp):
    """Many steps in one call."""

    def step(self, case: Case) -> Callable[[int], int]:
        """Train on given batches, as many steps a call as are asked for."""
        net, optimizer = self.network(case), gpubp.Adam(1e-3)
        x, y = map(np.concatenate, zip(*step_batches(case), strict=True))
        settings: dict[str, Any] = {"batch_size": case.batch, "shuffle": False}

        def repeat(count: int) -> int:
            epochs = max(1, round(count / BATCHES))
            net.fit(x, y, optimizer=optimizer, epochs=epochs, **settings)
            return epochs * BATCHES

        return repeat


class GpubpBfloat16(Gpubp):
    """With products in bfloat16."""

    def network(self, case: Case, seed: int = 0, **settings: Any) -> gpubp.Network:
        """Return a new network for a case."""
        net = super().network(case, seed, precision="bfloat16", **settings)
        if net.backend.notes:
            raise RuntimeError(net.backend.notes[0])
        return net


class GpubpCompiled(Gpubp):
    """A predictor that is prepared for a number of rows."""

    def predict(self, case: Case) -> Callable[[int], int]:
        """Predict all rows."""
        x = rows_to_predict(case)
        if case.file:
            predictor = self.network(case).compiled(CHUNKS[0])
            return in_chunks(predictor, x, case.sizes[-1], CHUNKS[:1])
        predictor = self.network(case).compiled(len(x))

        def repeat(count: int) -> int:
            for _ in range(count):
                predictor(x)
            return count

        return repeat


class GpubpEstimator(Gpubp):
    """The estimator in the place of scikit-learn's."""

    def predict(self, case: Case) -> Callable[[int], int]:
        """Predict all rows."""
        x = rows_to_predict(case)
        few = scaled(all_rows(replace(case, rows=100))[0])
        model = gpubp.MLPClassifier(case.sizes[1:-1], max_iter=1, backend="cpu")
        model.fit(few, np.arange(len(few)) % case.sizes[-1])

        def repeat(count: int) -> int:
            for _ in range(count):
                model.predict_proba(x)
            return count

        return repeat


class Floor:
    """The products of the step, in NumPy's BLAS, into arrays that are there already."""

    def step(self, case: Case) -> Callable[[int], int]:
        """Return the products of one training step."""
        random = np.random.default_rng(0)

        def matrix(rows: int, columns: int) -> np.ndarray[Any, Any]:
            return random.random((rows, columns), dtype=np.float32)

        weights = [matrix(*shape) for shape in zip(case.sizes, case.sizes[1:], strict=False)]
        gradients = [np.empty_like(weight) for weight in weights]
        values = [matrix(case.batch, size) for size in case.sizes]
        deltas = [matrix(case.batch, size) for size in case.sizes]
        out = [np.empty_like(value) for value in values]

        def repeat(count: int) -> int:
            for _ in range(count):
                for index, weight in enumerate(weights):
                    np.dot(values[index], weight, out=out[index + 1])
                for index in reversed(range(len(weights))):
                    np.dot(values[index].T, deltas[index + 1], out=gradients[index])
                    if index:
                        np.dot(deltas[index + 1], weights[index].T, out=out[index])
            return count

        return repeat

    def predict(self, case: Case) -> Callable[[int], int]:
        """Return the products of a forward pass over all rows, in chunks of 1024."""
        chunk = Case("step", case.sizes, 1024)
        random = np.random.default_rng(0)
        weights = [
            random.random(shape, dtype=np.float32)
            for shape in zip(case.sizes, case.sizes[1:], strict=False)
        ]
        values = [random.random((chunk.batch, size), dtype=np.float32) for size in case.sizes]

        def repeat(count: int) -> int:
            for _ in range(count * -(-case.batch // chunk.batch)):
                for index, weight in enumerate(weights):
                    np.dot(values[index], weight, out=values[index + 1])
            return count

        for value in values:
            value *= 1e-3  # repeated products must not overflow
        return repeat


PEERS: dict[str, type] = {
    "gpubp": Gpubp,
    "gpubp-fit": GpubpFit,
    "gpubp-numpy": Gpubp,
    "gpubp-bfloat16": GpubpBfloat16,
    "gpubp-compiled": GpubpCompiled,
    "gpubp-estimator": GpubpEstimator,
    "floor": Floor,
}
