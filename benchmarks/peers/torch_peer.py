"""PyTorch: eager, with forward and loss compiled, and with products in bfloat16."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from cases import Case, all_rows, in_chunks, mnist, rows_to_predict, scaled, step_batches
from default_network import DECAY, EPOCHS, PACE, RATE, STEPS, default_rows

from peers.torch_default import DefaultNetwork, loss_of

ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}
CHUNK = 1024


def versions() -> dict[str, str]:
    """Return the version."""
    return {"torch": torch.__version__}


class Torch:
    """Layers in a Sequential, Adam in the faster of its two forms."""

    compiled = False
    bfloat16 = False

    def __init__(self) -> None:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))

    def network(self, case: Case, seed: int = 0) -> torch.nn.Module:
        """Return a new network for a case."""
        torch.manual_seed(seed)
        layers: list[torch.nn.Module] = []
        for inputs, outputs in zip(case.sizes, case.sizes[1:], strict=False):
            layers += [torch.nn.Linear(inputs, outputs), ACTIVATIONS[case.activation]()]
        return torch.nn.Sequential(*layers[:-1])

    def products(self) -> Any:
        """Return the context of a forward pass."""
        return torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else nullcontext()

    def stepper(self, case: Case, seed: int = 0) -> tuple[Any, torch.nn.Module]:
        """Return a function that trains on one batch, and the network."""
        x, y = torch.rand(case.batch, case.sizes[0]), torch.zeros(case.batch, dtype=torch.int64)

        def optimizer(net: torch.nn.Module, form: str) -> Any:
            return torch.optim.Adam(net.parameters(), 1e-3, **{form: True})

        return self.faster_stepper(partial(self.network, case, seed), optimizer, (x, y))

    def faster_stepper(
        self,
        network: Callable[[], torch.nn.Module],
        optimizer: Callable[[torch.nn.Module, str], Any],
        batch: tuple[torch.Tensor, torch.Tensor],
        loss: Callable[..., torch.Tensor] = torch.nn.functional.cross_entropy,
    ) -> tuple[Any, torch.nn.Module]:
        """Return the faster one of two steps, tried on a batch, and a new network."""
        net = network()

        def plain(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            with self.products():
                return loss(net(x), y)

        loss_function = torch.compile(plain) if self.compiled else plain

        def stepper(form: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
            updates = optimizer(net, form)

            def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
                updates.zero_grad(set_to_none=True)
                value = loss_function(x, y)
                value.backward()
                updates.step()
                return value

            return step

        forms = {form: stepper(form) for form in ("fused", "foreach")}
        taken = {form: _best(step, *batch) for form, step in forms.items()}
        net.load_state_dict(network().state_dict())  # as before the trial
        return stepper(min(taken, key=taken.__getitem__)), net

    def default(self, case: Case) -> Callable[[int], int]:
        """Train gpubp's default network for tables on all rows."""
        x, y = map(torch.from_numpy, default_rows(case))

        def optimizer(net: torch.nn.Module, form: str) -> Any:
            adamw = torch.optim.AdamW(
                net.parameters(), RATE[case.activation], weight_decay=DECAY, **{form: True}
            )
            return Scheduled(adamw, list(net.parameters()))

        batch = x[: case.batch], y[: case.batch]
        step, _ = self.faster_stepper(partial(DefaultNetwork, case), optimizer, batch, loss_of)
        return _epochs(step, x, y, case.batch)

    def step(self, case: Case) -> Callable[[int], int]:
        """Train on given batches."""
        step, _ = self.stepper(case)
        batches = [tuple(map(torch.from_numpy, batch)) for batch in step_batches(case)]

        def repeat(count: int) -> int:
            for index in range(count):
                step(*batches[index % len(batches)]).item()
            return count

        return repeat

    def epoch(self, case: Case) -> Callable[[int], int]:
        """Train on all rows."""
        step, _ = self.stepper(case)
        x, y = all_rows(case)
        return _epochs(step, torch.from_numpy(scaled(x)), torch.from_numpy(y), case.batch)

    def predict(self, case: Case) -> Callable[[int], int]:
        """Predict all rows, at once or in chunks, whichever is faster."""
        net: Any = self.network(case).eval()
        rows = rows_to_predict(case)
        if case.file:
            with torch.inference_mode(), self.products():
                many = in_chunks(
                    lambda part: torch.softmax(net(torch.from_numpy(part)), 1).float().numpy(),
                    rows,
                    case.sizes[-1],
                )

            def repeat_many(count: int) -> int:
                with torch.inference_mode(), self.products():
                    return many(count)

            return repeat_many
        x = torch.from_numpy(rows)

        def at_once() -> None:
            torch.softmax(net(x), 1)

        def by_parts() -> None:
            torch.cat([torch.softmax(net(part), 1) for part in x.split(CHUNK)])

        with torch.inference_mode(), self.products():
            best = min((at_once, by_parts), key=_best)

        def repeat(count: int) -> int:
            with torch.inference_mode(), self.products():
                for _ in range(count):
                    best()
            return count

        return repeat

    def trainer(self, case: Case, seed: int) -> tuple[Callable[[], object], Callable[[], float]]:
        """Train on MNIST."""
        x, y, x_test, y_test = mnist(case.mnist)
        step, net = self.stepper(case, seed)
        repeat = _epochs(step, torch.from_numpy(scaled(x)), torch.from_numpy(y), case.batch)
        test = torch.from_numpy(scaled(x_test))

        def accuracy() -> float:
            with torch.inference_mode(), self.products():
                return float((net(test).argmax(1).numpy() == y_test).mean())

        return lambda: repeat(1), accuracy


class TorchCompiled(Torch):
    """Forward pass, loss and their gradient compiled."""

    compiled = True


class TorchBfloat16(Torch):
    """Products in bfloat16, as its own autocast chooses them; parameters in float32."""

    bfloat16 = True


class Scheduled:
    """An optimizer whose rate falls with half a cosine, and a running mean of the parameters."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]
    ) -> None:
        self.optimizer, self.zero_grad = optimizer, optimizer.zero_grad
        self.parameters = parameters
        self.means = [each.detach().clone() for each in parameters]
        self.rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * STEPS)

    def step(self) -> None:
        """Do a step, set the rate of the next, move the mean on."""
        self.optimizer.step()
        self.rate.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.means, self.parameters, PACE)


def _epochs(step: Any, x: torch.Tensor, y: torch.Tensor, batch: int) -> Callable[[int], int]:
    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows in torch.randperm(len(x)).split(batch):
            yield x[rows], y[rows]

    def repeat(count: int) -> int:
        for _ in range(count):
            loss = torch.zeros(())
            for x_batch, y_batch in batches():
                loss += step(x_batch, y_batch).detach()
            loss.item()
        return count

    return repeat


def _best(function: Callable[..., object], *arguments: Any) -> float:
    times = []
    for _ in range(6):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


PEERS = {"torch": Torch, "torch-compile": TorchCompiled, "torch-bfloat16": TorchBfloat16}
