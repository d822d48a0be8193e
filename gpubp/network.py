"""The network as its users see it: arrays of any kind in, results in the same kind out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpubp.backends import Backend, get_backend
from gpubp.backends.random import Seed
from gpubp.checks import checked_whole
from gpubp.data.feeds import Shuffle
from gpubp.data.protocol import Dataset
from gpubp.data.row_weights import ClassWeight
from gpubp.distributed.communicator import Communicator
from gpubp.errors import ConfigurationError
from gpubp.inspection.memory import on_device
from gpubp.nn.layers.periodic import Periodic
from gpubp.nn.losses import Loss
from gpubp.nn.optimizer import Optimizer
from gpubp.nn.parameter_groups import ParameterGroup
from gpubp.nn.regularization import Regularization
from gpubp.nn.schedule import Setting
from gpubp.nn.spec import CATEGORY_WIDTH, EMBEDDING, NetworkSpec
from gpubp.nn.spec_checks import STANDARD
from gpubp.stepping import SteppedNetwork
from gpubp.training.backend_choice import take_faster_backend, workload
from gpubp.training.callbacks import Callback, as_callbacks
from gpubp.training.epoch_steps import Training
from gpubp.training.fit import Fit
from gpubp.training.given import Given, make_ready
from gpubp.training.group import joined
from gpubp.training.history import History
from gpubp.training.logs import progress_display
from gpubp.training.metrics import Metric, as_metrics
from gpubp.training.settings import TrainingSettings


class Network(SteppedNetwork):
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
        ``net.backend.notes`` what is slower there than it could be. With ``"auto"`` `fit` times
        both where there is a GPU, once, and moves the network to the faster one.
    dtype : {"float32", "float64"}, numpy.dtype or class
        Of parameters and results; ``numpy.float32`` and ``"f4"`` are float32 too.
    seed : int, numpy.random.Generator, RandomState, SeedSequence or None
        Decides initial weights, row order and dropout, on every backend alike; a generator draws a
        number, None asks the operating system for one, and processes that train together take
        that of rank 0.
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
        ``"float64"`` in float32, and where it has AMX or AMD's AVX512-BF16 rounds what
        products read to ``"bfloat16"``; ``net.backend.notes`` says where it has not.
    normalization : {"layer", "batch"}, sequence or None
        Whether hidden layers normalise what their units sum up, over the units of a row or over the
        rows of a batch; one for all or one a hidden layer.
    bins : sequence of sequence of float or None
        The edges of bins for every input, such as `gpubp.quantile_bins` and `gpubp.tree_bins`
        find: each input that has some is embedded piecewise linearly, see
        `gpubp.nn.layers.piecewise_linear`.
    embedding : int
        Numbers that an input with bins becomes.
    categories : sequence of int or None
        For every input the number of its categories, 0 for a number: an input with n of them holds
        codes, whole numbers from 0 to n - 1, and is embedded by a table, see
        `gpubp.nn.layers.categories`. Any other number there is an unknown category.
    category_width : int
        Numbers that an input of categories becomes.
    residual : bool or sequence of bool
        Whether hidden layers add their inputs to their outputs, y = f(x W + b) + x: all that have
        as many of both, or one value a hidden layer.
    mixing : bool or sequence of bool
        Whether hidden layers have activations z + a (f(z) - z), with a trained factor a of each
        neuron that begins at 1; one value for all or one a hidden layer.
    weights : {"standard", "ntk"}
        Form of the weights of all layers: with ``"ntk"`` z = x W / sqrt(inputs) + b, and W begins
        as numbers of N(0, 1). An `initializer` other than ``"auto"`` then draws W / sqrt(inputs).
    periodic : Periodic or None
        How every input that is no category is embedded by waves of trained frequencies, see
        `gpubp.nn.layers.periodic`; not together with bins.
    input_factors : bool
        Whether all that the first dense layer reads is multiplied by trained factors, which begin
        at 1, see `gpubp.nn.layers.scale`.

    Raises
    ------
    ConfigurationError, ShapeError, BackendUnavailableError
        When a setting is unknown, out of its range or cannot be had.

    Examples
    --------
    Exclusive or, learnt from its four rows:

    >>> import gpubp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> net = gpubp.Network([2, 8, 1], activation="tanh", output="sigmoid", seed=1, backend="cpu")
    >>> history = net.fit(x, y, optimizer=gpubp.Adam(0.05), epochs=300)
    >>> [round(float(answer)) for answer in net.predict(x)[:, 0]]
    [0, 1, 1, 0]
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "relu",
        output: str = "identity",
        backend: str | Backend = "auto",
        dtype: Any = "float32",
        seed: Seed = 0,
        dropout: float | Sequence[float] = 0.0,
        initializer: str = "auto",
        input_scale: float = 1.0,
        precision: str | None = None,
        normalization: str | Sequence[str | None] | None = None,
        bins: Sequence[Sequence[float]] | None = None,
        embedding: int = EMBEDDING,
        categories: Sequence[int] | None = None,
        category_width: int = CATEGORY_WIDTH,
        residual: bool | Sequence[bool] = False,
        mixing: bool | Sequence[bool] = False,
        weights: str = STANDARD,
        periodic: Periodic | None = None,
        input_factors: bool = False,
    ) -> None:
        spec = NetworkSpec.of(
            sizes,
            activation=activation,
            output=output,
            dtype=dtype,
            precision=precision,
            seed=seed,
            dropout=dropout,
            initializer=initializer,
            input_scale=input_scale,
            normalization=normalization,
            bins=bins,
            embedding=embedding,
            categories=categories,
            category_width=category_width,
            residual=residual,
            mixing=mixing,
            weights=weights,
            periodic=periodic,
            input_factors=input_factors,
        )
        super().__init__(spec, get_backend(backend))

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        optimizer: str | Optimizer | type[Optimizer] | None = None,
        loss: str | Loss = "auto",
        epochs: int = 10,
        batch_size: int | None = None,
        validation: tuple[Any, ...] | Dataset | float | None = None,
        shuffle: Shuffle = True,
        progress: bool = False,
        callbacks: Callback | Sequence[Callback] = (),
        metrics: str | Metric | Sequence[str | Metric] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        every: int | None = None,
        resume: bool = False,
        regularization: Regularization | None = None,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        accumulate: int = 1,
        average: float | None = None,
        groups: Sequence[ParameterGroup] = (),
        dropout_factor: Setting | None = None,
        distributed: bool | Communicator = False,
        deterministic: bool = False,
        shards: int | None = None,
        rows: Any = None,
        validation_rows: Any = None,
    ) -> History:
        """Train for some epochs.

        A second call goes on where the first ended: ``fit`` for 5 epochs twice does the same
        steps as once for 10.

        Parameters
        ----------
        x, y : array, (rows, inputs) and (rows,) or (rows, outputs)
            Inputs, and expected class indices, probabilities or values; or x alone, a data set of
            `gpubp.data`, which need not fit into memory.
        optimizer, loss : str or Optimizer, str or Loss
            None takes Adam with its defaults, ``"auto"`` what follows the output (`gpubp.losses`).
        batch_size : int or None
            Rows a step; None takes 128, or all where there are fewer.
        validation : (x, y), (x, y, sample_weight), data set, float or None
            What to measure the loss on after each epoch; 0.2 holds out so large a share of the
            rows, which the network's seed draws.
        shuffle : bool or callable
            Whether each epoch has an order of rows of its own; or what returns that order for the
            number of an epoch.
        progress, callbacks : bool, Callback or sequence of Callback
            Show a live bar on a terminal, a line an epoch elsewhere; ``[gpubp.EarlyStopping()]``.
        metrics : {"accuracy", "auc", "rmse", "mae"}, callable, or sequence of them
            What to measure on the validation data besides, for ``history.metrics``; see
            `gpubp.EarlyStopping`.
        checkpoint, every, resume : path or None, int or None, bool
            A folder to write checkpoints into, every so many steps or at the end of every epoch;
            whether to go on from the newest, to the same bits, up to `epochs` in all; else the
            folder must hold none.
        regularization : Regularization or None
            L1 and L2 penalties, clipping of gradients, a largest norm of weights.
        sample_weight, class_weight : array, (rows,), or None; "balanced", dict, sequence or None
            What each row weighs in the loss of its batch, which is their weighted mean, and what
            the rows of each class weigh besides; ``"balanced"`` makes all classes weigh the same.
        accumulate : int
            Batches whose gradients are gathered for one update, as if they were one batch.
        average : float or None
            Decay of a running mean of the parameters, such as 0.999; see `averaged`. Validation
            measures both; callbacks see those with the lower loss at the end of an epoch.
        groups : sequence of ParameterGroup
            Parameters with a learning rate and a weight decay of their own, such as
            ``[gpubp.ParameterGroup("bias", weight_decay=0)]``.
        dropout_factor : float, Schedule or None
            What the network's rates of dropout are multiplied by, such as
            ``gpubp.FlatCosine(1.0, steps)``.
        distributed, deterministic, shards : bool or Communicator, bool, int or None
            Whether the processes of an MPI job train together, to the same bits however many they
            are, each batch cut into so many shards: see docs/distributed.md.
        rows, validation_rows : array of int, (chosen,), or None
            Which rows of x and y to train on, as if there were no others, and which to validate
            on, instead of `validation`; rows may come several times, and nothing is copied.

        Returns
        -------
        History
            Losses and times, kept as ``net.history`` too, also when an exception ends training.

        Raises
        ------
        DivergenceError
            When a loss is not finite; the weights are those of the last step with a finite loss.
        CheckpointError, OutputPathError, DistributedError
            When a checkpoint cannot be used or written, or processes do not belong together.
        ShapeError, DataError, NonFiniteError, DeviceError, ConfigurationError, MissingExtraError
            When an argument cannot be used.
        """
        epochs = checked_whole("epochs", epochs)
        if resume and checkpoint is None:
            raise ConfigurationError("resume without checkpoint; a folder to go on from is needed")
        every = None if every is None else checked_whole("every", every)
        settings = TrainingSettings.of(
            self.output,
            optimizer=optimizer,
            loss=loss,
            regularization=regularization,
            accumulate=accumulate,
            average=average,
            groups=groups,
            dropout_factor=dropout_factor,
        )
        listed, measured = as_callbacks(callbacks), as_metrics(metrics)
        if self.backend.alternative is not None and not distributed:
            data = x, y, sample_weight, validation
            weighted = sample_weight is not None or class_weight is not None
            chosen_rows = None if rows is None else np.size(rows)
            work = workload([self.spec], settings, data, batch_size, weighted, chosen_rows)
            take_faster_backend(self, work)
        given = Given(
            x,
            y,
            settings,
            listed,
            measured,
            validation=validation,
            shuffle=shuffle,
            checkpoint=checkpoint,
            every=every,
            resume=resume,
            sample_weight=sample_weight,
            class_weight=class_weight,
            group=joined(distributed, deterministic, shards, isinstance(x, Dataset)),
            rows=rows,
            validation_rows=validation_rows,
        )
        return self._fit(given, epochs, progress, batch_size=batch_size)

    @on_device
    def _fit(self, given: Given, epochs: int, progress: bool, *, batch_size: int | None) -> History:
        """Train for some epochs where the network lies; see `fit`."""
        self._last = None
        ready = make_ready(self.stack, given, batch_size)
        training = Training(self.stack, self._state, ready.feed, given.settings, given.group)
        self.history = History()
        processes = None if given.group is None else given.group.communicator
        shown = [progress_display()] if progress else []
        told = [*given.callbacks, *shown] if processes is None or processes.is_root else []
        Fit(self, training, self.history, ready.keeper).run(
            epochs, ready.validated, told, given.resume, given.metrics
        )
        return self.history
