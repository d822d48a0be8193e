"""What a network can be asked about itself: derivatives, a step in numbers, health, memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from gpubp.backends.interchange import give_back
from gpubp.checks import checked_whole
from gpubp.data.batches import take_data, take_inputs
from gpubp.data.feeds import check_alone, held_out
from gpubp.data.protocol import Dataset
from gpubp.errors import ConfigurationError, DataError
from gpubp.inspection import memory
from gpubp.inspection.health import Health, examine
from gpubp.inspection.memory import MemoryPlan, on_device
from gpubp.inspection.summary import Summary, summarize
from gpubp.inspection.trace import Trace, trace
from gpubp.nn.losses import Loss, get_loss
from gpubp.nn.optimizer import Optimizer
from gpubp.nn.optimizers import get_optimizer
from gpubp.nn.view import NetworkView
from gpubp.training import evaluation, prediction
from gpubp.training.compiled_predictor import CompiledPredictor
from gpubp.training.state import TrainingState


class InspectedNetwork(NetworkView):
    """The part of a network's face that looks and changes nothing."""

    preprocessing: dict[str, Any] | None
    _state: TrainingState
    _last: Any  # buffers of the last forward pass, until another writes over them

    def copy(self, dtype: Any = None) -> Any:
        """Return a network with a copy of the parameters, in another dtype if one is given."""
        raise NotImplementedError

    @on_device
    def input_gradient(self, x: Any, output: int | None = None) -> Any:
        """Return the derivatives of the outputs by the inputs, dy/dx.

        Parameters
        ----------
        x : array, (rows, inputs)
        output : int or None
            Which output; None takes all.

        Returns
        -------
        array
            (rows, inputs) for one output, (rows, outputs, inputs) for all.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError
            When an argument cannot be used.
        """
        inputs, count = take_inputs(self.stack, x), self.sizes[-1]
        if output is not None:
            checked_whole("output", output, least=0, most=count - 1)
        result = evaluation.input_gradient(
            self.stack, inputs, range(count) if output is None else [output]
        )
        return give_back(result if output is None else result[:, 0], self.backend, x)

    @on_device
    def trace(
        self,
        x: Any,
        expected: Any,
        learning_rate: float = 0.5,
        loss: str | Loss = "auto",
        apply: bool = False,
    ) -> Trace:
        """Show one step of plain gradient descent, number by number.

        Parameters
        ----------
        x, expected : array, (rows, inputs) and (rows,) or (rows, outputs)
            One row, or a batch, whose weight updates are averaged.
        learning_rate : float
            Size of the step.
        apply : bool
            Whether the network keeps the new weights; otherwise it is left as it was.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError
            When an argument cannot be used.
        """
        chosen = get_loss(loss, self.output)
        if self.stack.half is not None:
            raise ConfigurationError(
                f"trace in precision {self.precision.name!r}; float32 or float64 is needed, as"
                " in net.copy(dtype='float32').trace(...)"
            )
        if any(self.spec.normalization):
            raise ConfigurationError(
                "trace of a network with normalization; one without is needed to show its numbers"
            )
        data = take_data(self.stack, x, expected, chosen)
        made = trace(self.stack, data, chosen, learning_rate, apply)
        return replace(made, optimizer=self._state.kernel)

    @on_device
    def health(
        self, x: Any, y: Any, loss: str | Loss = "auto", optimizer: str | Optimizer = "adam"
    ) -> Health:
        """Return what ails the network, with remedies; ``print`` shows it as a table.

        Dead and saturated units, gradients and the optimizer's next update by layer, the first
        place that is not finite, and the loss beside that of a network that knows nothing. The
        network is left as it is.

        Parameters
        ----------
        x, y : array, (rows, inputs) and (rows,) or (rows, outputs)
            Rows to look at; the first 1,024 are.
        optimizer : str or Optimizer
            As given to `fit`.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError
            When an argument cannot be used.
        """
        chosen = get_loss(loss, self.output)
        twin = self.copy(dtype=self.dtype)  # which leaves a half precision
        with np.errstate(over="ignore", invalid="ignore"):
            data = take_data(twin.stack, x, y, chosen)
            return examine(twin.stack, self._state, data, chosen, get_optimizer(optimizer))

    def memory_plan(self, batch_size: int, optimizer: str | Optimizer = "adam") -> MemoryPlan:
        """Return how much memory training takes, in bytes; ``print`` shows it as a table.

        Parameters
        ----------
        batch_size : int
            Rows a step.
        optimizer : str or Optimizer
            Decides how many moments are kept.

        Raises
        ------
        ConfigurationError
            When the batch size is no whole number above 0, or the optimizer is not known.
        """
        return memory.plan(self.stack, batch_size, len(get_optimizer(optimizer).state))

    @overload
    @on_device
    def predict(self, x: NDArray[Any]) -> NDArray[Any]: ...

    @overload
    @on_device
    def predict(self, x: Any) -> Any: ...

    @on_device
    def predict(self, x: Any) -> Any:
        """Return the outputs (rows, outputs) for inputs (rows, inputs), in chunks of rows.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError
            When x cannot be used.
        """
        self._refuse_columns(x)
        self._last = None
        inputs = take_inputs(self.stack, x)
        return give_back(prediction.predict(self.stack, inputs), self.backend, x)

    @on_device
    def compiled(self, rows: int = 1) -> CompiledPredictor:
        """Return a function that does what `predict` does, for exactly so many rows at a time.

        It is prepared once and then saves what `predict` spends besides computing: for one row of
        a small network several times its time. It follows further training of the network.

        Raises
        ------
        ConfigurationError
            When `rows` is no whole number above 0.
        """
        return CompiledPredictor(self.stack, checked_whole("rows", rows))

    def summary(self, batch_size: int = 128, optimizer: str | Optimizer = "adam") -> Summary:
        """Return a table of the layers: shapes, parameters, and the memory that training takes.

        ``print(net)`` shows it too. Arguments and errors are those of `memory_plan`.
        """
        return summarize(self.stack, batch_size, len(get_optimizer(optimizer).state))

    def __str__(self) -> str:
        return str(self.summary())

    def _refuse_columns(self, x: Any) -> None:
        """Raise DataError for a data frame whose columns a table's model would make inputs of."""
        if hasattr(x, "columns") and "columns" in (self.preprocessing or {}):
            raise DataError(
                f"x is a {type(x).__name__}, of whose columns the network's {self.sizes[0]} inputs"
                " have to be made first; gpubp.load(path), which returns the model that does, is"
                " needed"
            )

    @on_device
    def evaluate(
        self, x: Any, y: Any = None, loss: str | Loss = "auto", sample_weight: Any = None
    ) -> dict[str, float]:
        """Return the mean loss and, for softmax, sigmoid or expected class indices, the accuracy.

        Of arrays x and y, or of a data set of `gpubp.data`.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError
            When an argument cannot be used.
        """
        self._refuse_columns(x)
        chosen = get_loss(loss, self.output)
        if isinstance(x, Dataset):
            check_alone(y=y, sample_weight=sample_weight)
            data: Any = x
        else:
            data = take_data(self.stack, x, y, chosen, sample_weight=sample_weight)
        return evaluation.evaluate(self.stack, held_out(self.stack, data, chosen), chosen)
