"""The network as its users see it: arrays of any kind in, results in the same kind out."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp import saving as model_file
from gpubp.backends import Backend, get_backend
from gpubp.backends.interchange import give_back, take_in
from gpubp.data.batches import Batches, Data, Shuffle, take_data, take_inputs
from gpubp.data.dataset_batches import StreamBatches, StreamData, check_alone
from gpubp.data.protocol import Dataset
from gpubp.data.row_weights import ClassWeight
from gpubp.data.shards import ALL
from gpubp.distributed.communicator import Communicator
from gpubp.errors import ConfigurationError, DivergenceError, ModelFileError, ShapeError
from gpubp.inspection import memory
from gpubp.inspection.health import Health, examine
from gpubp.inspection.memory import MemoryPlan, on_device
from gpubp.inspection.trace import Trace, trace
from gpubp.nn.backprop import LayerStack
from gpubp.nn.buffers import Buffers
from gpubp.nn.losses import Loss, get_loss
from gpubp.nn.optimizers import Adam, Optimizer, get_optimizer
from gpubp.nn.regularization import NONE, Regularization
from gpubp.pickling import reduced
from gpubp.training import evaluation as inference
from gpubp.training.callbacks import Callback, History
from gpubp.training.checkpoints import checkpointer
from gpubp.training.fit import Fit, do_step, first_non_finite
from gpubp.training.group import joined
from gpubp.training.progress import progress_display
from gpubp.training.settings import TrainingSettings
from gpubp.training.state import TrainingState


class Network(LayerStack):
    """A dense neural network trained by backpropagation.

    A network is to be used by one thread at a time.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, of neurons in each hidden layer, of outputs.
    activation : str or sequence of str
        Activation of the hidden layers, one name for all or one a hidden layer.
    output : str
        Activation of the last layer: ``"softmax"`` for one class of several, ``"sigmoid"`` for
        yes or no, ``"identity"`` for numbers, or any other.
    backend : {"auto", "cpu", "gpu", "gpu:1", ...} or Backend
        Where to compute; ``net.backend.reason`` says why that was chosen, and
        ``net.backend.notes`` what is slower there than it could be.
    dtype : {"float32", "float64"}
        Of parameters and results.
    seed : int or None
        Decides initial weights, row order and dropout, on every backend alike; None draws one.
    dropout : float or sequence of float
        Share of outputs dropped in training, one number or one a hidden layer.
    initializer : str
        See `gpubp.nn.initializers`; ``"auto"`` follows the activation. Biases start at zero.
    input_scale : float
        What every input is multiplied by as a batch is read: with 1 / 255, bytes from 0 to 255
        are trained on as they are stored.
    precision : {"float32", "tf32", "bfloat16", "float16", "float64"} or None
        What a GPU computes in; None follows `dtype`. ``"tf32"`` rounds what matrix products read
        to 10 bits after the point; the half precisions store activations and what products read
        in 16 bits and keep parameters, moments and sums in float32. A CPU computes all but
        ``"float64"`` in float32.

    normalization : {"layer", "batch"}, sequence or None
        Whether hidden layers normalise what their units sum up, over the units of a row or over the
        rows of a batch; one for all or one a hidden layer. See `gpubp.nn.normalization`.

    Raises
    ------
    ConfigurationError, ShapeError, BackendUnavailableError
        When a setting is unknown, out of its range or cannot be had.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "relu",
        output: str = "identity",
        backend: str | Backend = "auto",
        dtype: Any = "float32",
        seed: int | None = 0,
        dropout: float | Sequence[float] = 0.0,
        initializer: str = "auto",
        input_scale: float = 1.0,
        precision: str | None = None,
        normalization: str | Sequence[str | None] | None = None,
    ) -> None:
        super().__init__(
            sizes,
            activation,
            output,
            backend,
            dtype,
            seed,
            dropout,
            initializer,
            input_scale,
            precision,
            normalization,
        )
        self.history = History()
        self.preprocessing: dict[str, Any] | None = None
        self._state = TrainingState()
        self._last: Buffers | None = None

    def __repr__(self) -> str:
        names = [layer.activation.name for layer in self.layers]
        return (
            f"Network({list(self.sizes)}, activation={names[:-1]}, output={names[-1]!r},"
            f" backend={self.backend.name!r}, dtype={self.dtype.name!r})"
        )

    @on_device
    def forward(self, x: Any) -> Any:
        """Return outputs (rows, outputs) for inputs (rows, inputs); keep what `backward` needs.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError
            When x cannot be used.
        """
        self.refresh()
        self._last = self.run_forward(self.read_rows(take_inputs(self, x)))
        return give_back(self._last.y[-1].copy(), self.backend, x)

    @on_device
    def backward(self, dy: Any) -> Any:
        """Return dx (rows, inputs) for a gradient dy by the outputs of the last `forward`.

        `gradients` is written: the sum over the rows of the gradient by each parameter.

        Raises
        ------
        ConfigurationError
            When there was no forward pass before.
        ShapeError, DataError, DeviceError
            When dy cannot be used.
        """
        buffers = self._last
        if buffers is None:
            raise ConfigurationError("backward before forward; call forward(x) first")
        gradient = take_in(dy, self.backend, "dy")
        if gradient.shape != buffers.y[-1].shape:
            raise ShapeError(
                f"dy has shape {tuple(gradient.shape)}; {tuple(buffers.y[-1].shape)} is needed,"
                " that of the last forward's outputs"
            )
        gradient = self.backend.asarray(gradient, self.dtype)
        self.backend.convert(gradient, buffers.delta[-1])
        dx = self.backend.xp.empty((buffers.rows, self.sizes[0]), self.dtype)
        self.run_backward(buffers, from_logits=False, dx=dx)
        if self.input_scale != 1:
            dx *= self.input_scale
        return give_back(dx, self.backend, dy)

    @on_device
    def train_step(
        self,
        x: Any,
        y: Any,
        optimizer: str | Optimizer = "sgd",
        loss: str | Loss = "auto",
        regularization: Regularization | None = None,
        sample_weight: Any = None,
    ) -> float:
        """Do one step of gradient descent on a batch and return its mean loss before the step.

        The optimizer's moments are kept as long as the same kind of optimizer is used. The number
        is fetched from the device, which waits for it; `fit` does not.

        Raises
        ------
        DivergenceError
            When the loss is not finite; the parameters are then as they were before the step.
        ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError
            When an argument cannot be used.
        """
        chosen = get_loss(loss, self.output)
        data = take_data(self, x, y, chosen, sample_weight=sample_weight)
        settings = TrainingSettings(get_optimizer(optimizer), chosen, regularization or NONE)
        self._last = None
        with np.errstate(over="ignore", invalid="ignore"):  # looked for, and named, here
            batch = Data(self.read_rows(data.x), data.expected, weights=data.weights)
            value = float(do_step(self, self._state, batch, settings, guarded=True))
            if not math.isfinite(value):
                buffers = self.run_forward(batch.x, dropout_step=self._state.step)
                where = first_non_finite(self, buffers)
                raise DivergenceError(
                    f"the loss is {value}, first in {where}; the parameters are as they were",
                    self._state.step + 1,
                    where,
                )
        return value

    @on_device
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        optimizer: str | Optimizer | None = None,
        loss: str | Loss = "auto",
        epochs: int = 10,
        batch_size: int | None = None,
        validation: tuple[Any, ...] | Dataset | None = None,
        shuffle: Shuffle = True,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        every: int | None = None,
        resume: bool = False,
        regularization: Regularization | None = None,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        accumulate: int = 1,
        average: float | None = None,
        distributed: bool | Communicator = False,
        deterministic: bool = False,
        shards: int | None = None,
    ) -> History:
        """Train for some epochs.

        A second call goes on where the first ended: ``fit`` for 5 epochs twice does the same
        steps as once for 10.

        Parameters
        ----------
        x, y : array, (rows, inputs) and (rows,) or (rows, outputs)
            Inputs, and expected class indices, probabilities or values; or x alone, a data set of
            `gpubp.data`, which need not fit into memory.
        optimizer : str or Optimizer
            Adam with its default settings when None.
        loss : str or Loss
            See `gpubp.nn.losses`; ``"auto"`` follows the output.
        batch_size : int or None
            Rows a step; None takes 128, or all where there are fewer.
        validation : (x, y), (x, y, sample_weight), data set or None
            Data to measure the loss on after each epoch.
        shuffle : bool or callable
            Whether each epoch has an order of rows of its own; or what returns that order, the
            numbers of the rows, for the number of an epoch, and the same whenever it is asked.
        progress : bool
            Show a live bar on a terminal, a line an epoch elsewhere.
        callbacks : sequence of Callback
            For example ``[gpubp.EarlyStopping()]``.
        checkpoint : path or None
            A folder to write checkpoints into: all that a training needs to go on, to the same
            bits, after it was killed at any moment.
        every : int or None
            Steps from one checkpoint to the next; None for one at the end of every epoch.
        resume : bool
            Go on from the newest checkpoint in the folder, up to `epochs` in all; where there is
            none, begin.
        regularization : Regularization or None
            L1 and L2 penalties, clipping of gradients, a largest norm of weights.
        sample_weight : array, (rows,), or None
            What each row weighs in the loss of its batch, which is their weighted mean.
        class_weight : "balanced", dict, sequence or None
            What the rows of each class weigh besides, by the class's index; ``"balanced"`` makes
            all classes weigh the same.
        accumulate : int
            Batches whose gradients are gathered for one update, as if they were one batch.
        average : float or None
            Decay of a running mean of the parameters, such as 0.999; `averaged` returns the network
            with it.
        distributed : bool or Communicator
            Whether the processes of an MPI job train together, each on its part of every batch;
            see docs/distributed.md.
        deterministic : bool
            Whether these give the same bits however many they are.
        shards : int or None
            Parts that each batch is cut into, shared out among the processes; see
            `gpubp.training.group.group_of`.

        Returns
        -------
        History
            Losses and times, kept as ``net.history`` too, also when an exception ends training.

        Raises
        ------
        DivergenceError
            When a loss is not finite; the weights are those of the last step with a finite loss.
        ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError
            When an argument cannot be used.
        CheckpointError, OutputPathError, MissingExtraError
            When a checkpoint is of another run or torn, or cannot be written.
        DistributedError
            When processes that train together do not belong together.
        """
        if epochs < 1:
            raise ConfigurationError(f"epochs is {epochs!r}; a whole number above 0 is needed")
        if resume and checkpoint is None:
            raise ConfigurationError("resume without checkpoint; a folder to go on from is needed")
        if every is not None and (not isinstance(every, int) or every < 1):
            raise ConfigurationError(f"every is {every!r}; a whole number above 0 is needed")
        chosen = get_loss(loss, self.output)
        group = joined(distributed, deterministic, shards, isinstance(x, Dataset))
        part = ALL if group is None else group.shards
        batches: Batches | StreamBatches
        if isinstance(x, Dataset):
            check_alone(y=y, sample_weight=sample_weight, class_weight=class_weight)
            batches = StreamBatches(x, batch_size, shuffle, self, chosen, part)
        else:
            data = take_data(self, x, y, chosen, "", sample_weight, class_weight)
            batches = Batches(data, batch_size, shuffle, self, part)
        held_out = None if validation is None else self._take_validation(validation, chosen)
        self.history = History()
        self._last = None
        used = Adam() if optimizer is None else get_optimizer(optimizer)
        settings = TrainingSettings(used, chosen, regularization or NONE, accumulate, average)
        keeper = None
        talk = None if group is None else group.communicator
        if talk is not None and accumulate > 1 and every is not None:
            raise ConfigurationError(
                f"every is {every} with accumulate in distributed training; None is needed, for a"
                " checkpoint at the end of every epoch"
            )
        if checkpoint is not None:
            same = self._settings() | settings.described()
            same["callbacks"] = [type(one).__name__ for one in callbacks]
            same |= {} if group is None else group.described()
            keeper = checkpointer(checkpoint, every, same, batches, talk)
        run = Fit(self, self._state, batches, settings, self.history, keeper, group)
        shown = [progress_display()] if progress else []
        own = [*callbacks, *shown] if talk is None or talk.is_root else []
        run.run(epochs, held_out, own, resume)
        return self.history

    def _take_validation(
        self, validation: tuple[Any, ...] | Dataset, loss: Loss
    ) -> Data | StreamData:
        if isinstance(validation, Dataset):
            return StreamData(validation, self, loss)
        if not isinstance(validation, tuple) or len(validation) not in (2, 3):
            raise ConfigurationError(
                "validation is no tuple (x, y) or (x, y, sample_weight); one of them is needed"
            )
        x, y, *weights = validation
        given = weights[0] if weights else None
        return take_data(self, x, y, loss, "validation ", given)

    @on_device
    def averaged(self) -> Network:
        """Return a network with the running mean of the parameters, kept by ``fit(average=...)``.

        Raises
        ------
        ConfigurationError
            When the last training kept none.
        """
        if self._state.average is None:
            raise ConfigurationError("averaged without fit(average=...); a decay is needed there")
        twin = self.copy()
        twin.parameters[...] = self._state.average
        return twin

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate of every step from now on; `ReduceOnPlateau` does.

        Raises
        ------
        ConfigurationError
            When the factor is no finite number above 0.
        """
        if not 0 < factor < math.inf:
            raise ConfigurationError(f"factor is {factor!r}; a finite number above 0 is needed")
        self._state.rate_factor *= factor

    def reset_optimizer(self) -> None:
        """Forget the optimizer's moments and what its learning rate was multiplied by."""
        self._state.kernel, self._state.rate_factor = "", 1.0

    @on_device
    def predict(self, x: Any) -> Any:
        """Return the outputs (rows, outputs) for inputs (rows, inputs), in chunks of rows.

        Raises
        ------
        ShapeError, DataError, NonFiniteError, DeviceError
            When x cannot be used.
        """
        inputs = take_inputs(self, x)
        self._last = None
        return give_back(inference.predict(self, inputs), self.backend, x)

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
        chosen = get_loss(loss, self.output)
        self._last = None
        if isinstance(x, Dataset):
            check_alone(y=y, sample_weight=sample_weight)
            return inference.evaluate(self, StreamData(x, self, chosen), chosen)
        data = take_data(self, x, y, chosen, sample_weight=sample_weight)
        return inference.evaluate(self, data, chosen)

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
        inputs, count = take_inputs(self, x), self.sizes[-1]
        if output is not None and not 0 <= output < count:
            raise ConfigurationError(
                f"output is {output!r}; a number from 0 to {count - 1} is needed"
            )
        self._last = None
        result = inference.input_gradient(
            self, inputs, range(count) if output is None else [output]
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
        if self.stored != self.dtype:
            raise ConfigurationError(
                f"trace in precision {self.precision.name!r}; float32 or float64 is needed, as"
                " in net.copy(dtype='float32').trace(...)"
            )
        if any(self.normalization):
            raise ConfigurationError(
                "trace of a network with normalization; one without is needed to show its numbers"
            )
        self._last = None
        return trace(self, take_data(self, x, expected, chosen), chosen, learning_rate, apply)

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
            data = take_data(twin, x, y, chosen)
            return examine(twin, self._state, data, chosen, get_optimizer(optimizer))

    @on_device
    def to(self, backend: str | Backend) -> Network:
        """Move the network to another backend, in place, and return it.

        Parameters and optimizer state move along; views taken before stay on the old one.

        Raises
        ------
        BackendUnavailableError, UnknownNameError
            When there is no such backend here.
        """
        target = get_backend(backend)
        old, state = self.backend, self._state
        kept = state.moments if state.average is None else (*state.moments, state.average)
        hosts = [old.to_numpy(array) for array in kept]
        self._place(target, old.to_numpy(self.parameters))
        with self.backend.on_device():
            moved = [target.empty(host.shape, self.dtype) for host in hosts]
            for there, host in zip(moved, hosts, strict=True):
                there[...] = target.asarray(host)
        if state.average is not None:
            state.average = moved.pop()
        state.moments = tuple(moved)
        state.scaling = state.gathered = None
        self._last = None
        return self

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
        return memory.plan(self, batch_size, len(get_optimizer(optimizer).state))

    @on_device
    def copy(self, dtype: Any = None) -> Network:
        """Return a network with a copy of the parameters, in another dtype if one is given."""
        settings = self._settings()
        if dtype is not None:
            settings |= {"dtype": dtype, "precision": None}
        twin = Network(**settings, backend=self.backend)
        twin.parameters[...] = self.parameters
        twin.preprocessing = self.preprocessing
        return twin

    @on_device
    def save(
        self, path: str | os.PathLike[str], preprocessing: dict[str, Any] | None = None
    ) -> None:
        """Write a model file (safetensors); an existing one is replaced only when it is complete.

        Parameters
        ----------
        preprocessing : dict or None
            What JSON can hold, stored with the model and loaded as ``net.preprocessing``.

        Raises
        ------
        OutputPathError, MissingExtraError
            When the file cannot be written, or safetensors is not installed.
        """
        kept = self.preprocessing if preprocessing is None else preprocessing
        description = self._settings() | {"preprocessing": kept}
        model_file.write(path, self.backend.to_numpy(self.parameters), description)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | Backend = "auto") -> Network:
        """Read a model file.

        Raises
        ------
        ModelFileError
            When there is none, or it is torn, foreign or of a newer version.
        BackendUnavailableError, MissingExtraError
            When the backend cannot be had, or safetensors is not installed.
        """
        chosen = get_backend(backend)
        parameters, description = model_file.read(path)
        preprocessing = description.pop("preprocessing", None)
        try:
            net = cls(**description, backend=chosen)
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"{path} describes no network: {error}") from error
        if parameters.shape != net.parameters.shape or parameters.dtype != net.dtype:
            raise ModelFileError(
                f"{path} holds {parameters.size} parameters of {parameters.dtype}; its network"
                f" {list(net.sizes)} needs {net.parameters.size} of {net.dtype}"
            )
        with net.backend.on_device():
            net.parameters[...] = net.backend.asarray(parameters)
        net.preprocessing = preprocessing
        return net

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    def _settings(self) -> dict[str, Any]:
        return {
            "sizes": list(self.sizes),
            "activation": [layer.activation.name for layer in self.layers[:-1]],
            "output": self.output.name,
            "seed": self.seed,
            "dropout": list(self._dropout[:-1]),
            "initializer": self.initializer,
            "input_scale": self.input_scale,
            "dtype": self.dtype.name,
            "precision": self.precision.name,
            "normalization": list(self.normalization[:-1]),
        }
