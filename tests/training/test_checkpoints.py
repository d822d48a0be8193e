"""Checkpoints: training that was killed goes on to the same bits, and bad ones are named."""

from __future__ import annotations

import os

import numpy as np
import pytest

import gpubp
from gpubp import errors, files
from gpubp.data import fingerprint
from gpubp.training import checkpoint_files as checkpoints

pytest.importorskip("safetensors")


def data(rows=50):
    generator = np.random.default_rng(0)
    return generator.standard_normal((rows, 4)).astype(np.float32), generator.integers(0, 3, rows)


def network(backend="cpu", **settings):
    return gpubp.Network([4, 8, 3], "tanh", "softmax", backend, **{"dropout": 0.2} | settings)


def parameters(net):
    return net.backend.to_numpy(net.parameters).tobytes()


class CutOffError(Exception):
    """What a test ends a training with."""


class StopAt:
    """Ends training after so many steps, as a crash would: without a word to gpubp."""

    def __init__(self, share, epoch):
        self.share, self.epoch = share, epoch

    def begin(self, net, epochs):
        pass

    def advance(self, history, share):
        if history.epochs == self.epoch and share >= self.share:
            raise CutOffError

    def epoch_end(self, net, history):
        return False

    def end(self, net, history):
        pass


@pytest.mark.parametrize("every", [None, 1, 3, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lion"])
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(backend, tmp_path, every, optimizer):
    """Killed in the middle of an epoch and again at the end of one, continued by new networks."""
    x, y = data()
    settings = {"epochs": 6, "batch_size": 8, "optimizer": optimizer, "validation": (x, y)}
    whole = network(backend)
    history = whole.fit(x, y, **settings)
    for share, epoch in ((0.5, 2), (0.9, 4)):
        cut = network(backend)
        with pytest.raises(CutOffError):
            cut.fit(
                x, y, checkpoint=tmp_path, every=every, resume=True,
                callbacks=[StopAt(share, epoch)], **settings,
            )  # fmt: skip
    last = network(backend)
    found = last.fit(
        x, y, checkpoint=tmp_path, every=every, resume=True, callbacks=[StopAt(2, 9)], **settings
    )
    assert (found.loss, found.validation_loss) == (history.loss, history.validation_loss)
    assert len(found.seconds) == 6
    assert parameters(last) == parameters(whole)
    assert len(list(tmp_path.iterdir())) == 2
    more = settings | {"epochs": 8}
    assert parameters_after(network(backend), x, y, more, tmp_path) == parameters_after(
        network(backend), x, y, more, tmp_path / "none"
    )


def parameters_after(net, x, y, settings, folder):
    net.fit(x, y, checkpoint=folder, resume=True, callbacks=[StopAt(2, 9)], **settings)
    return parameters(net)


def test_a_finished_run_is_not_trained_further(tmp_path):
    x, y = data()
    first, second = network(), network()
    history = first.fit(x, y, epochs=3, checkpoint=tmp_path)
    again = second.fit(x, y, epochs=3, checkpoint=tmp_path, resume=True)
    assert parameters(first) == parameters(second)
    assert again.to_dict() == history.to_dict()


def test_early_stopping_goes_on_with_what_was_best(tmp_path):
    x, y = data()
    settings = {"epochs": 60, "batch_size": 8, "optimizer": gpubp.Adam(0.1), "validation": (x, y)}
    whole = network()
    expected = whole.fit(x, y, callbacks=[gpubp.EarlyStopping(4)], **settings)
    assert expected.stopped == "early stopping"
    cut = network()
    with pytest.raises(CutOffError):
        cut.fit(
            x, y, checkpoint=tmp_path, every=5,
            callbacks=[gpubp.EarlyStopping(4), StopAt(0.5, expected.epochs - 2)], **settings,
        )  # fmt: skip
    for _ in range(2):  # the second finds the run at its end
        stopping = gpubp.EarlyStopping(4)
        net = network()
        found = net.fit(
            x, y, checkpoint=tmp_path, every=5, resume=True,
            callbacks=[stopping, StopAt(2, 99)], **settings,
        )  # fmt: skip
        assert found.loss == expected.loss
        assert found.stopped == "early stopping"
        assert parameters(net) == parameters(whole)


def test_a_rate_that_fell_stays_down(tmp_path):
    x, y = data()
    settings = {"epochs": 30, "batch_size": 8, "optimizer": gpubp.SGD(3.0)}
    whole = network()
    whole.fit(x, y, callbacks=[gpubp.ReduceOnPlateau(1, 0.5)], **settings)
    assert whole._state.rate_factor < 0.1
    cut = network()
    with pytest.raises(CutOffError):
        cut.fit(
            x, y, checkpoint=tmp_path, every=5,
            callbacks=[gpubp.ReduceOnPlateau(1, 0.5), StopAt(0.5, 20)], **settings,
        )  # fmt: skip
    net = network()
    net.fit(
        x, y, checkpoint=tmp_path, every=5, resume=True,
        callbacks=[gpubp.ReduceOnPlateau(1, 0.5), StopAt(2, 99)], **settings,
    )  # fmt: skip
    assert net._state.rate_factor == whole._state.rate_factor
    assert parameters(net) == parameters(whole)


def test_divergence_after_going_on_names_the_same_step(tmp_path):
    x, y = data()
    settings = {"optimizer": gpubp.SGD(1e9), "epochs": 50, "batch_size": 10}
    net = gpubp.Network([4, 8, 1], "relu", backend="cpu")
    target = y.reshape(-1, 1) * 1.0
    with pytest.raises(errors.DivergenceError) as expected:
        net.fit(x, target, **settings)
    step = expected.value.step
    assert step > 2
    for every in range(1, step):
        folder = tmp_path / str(every)
        with pytest.raises(errors.DivergenceError):
            gpubp.Network([4, 8, 1], "relu", backend="cpu").fit(
                x, target, checkpoint=folder, every=every, **settings
            )
        with pytest.raises(errors.DivergenceError) as again:
            gpubp.Network([4, 8, 1], "relu", backend="cpu").fit(
                x, target, checkpoint=folder, every=every, resume=True, **settings
            )
        assert again.value.step == step


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
def test_a_torn_checkpoint_gives_way_to_the_one_before(tmp_path, damage):
    x, y = data()
    whole = network()
    whole.fit(x, y, epochs=6)
    network().fit(x, y, epochs=3, checkpoint=tmp_path)
    newest, _ = checkpoints.CheckpointFolder(tmp_path).files()
    tear(newest, damage)
    net = network()
    with pytest.warns(UserWarning, match="going on from an older checkpoint: .* is torn"):
        net.fit(x, y, epochs=6, checkpoint=tmp_path, resume=True)
    assert parameters(net) == parameters(whole)
    for path in checkpoints.CheckpointFolder(tmp_path).files():
        tear(path, damage)
    with pytest.raises(errors.CheckpointError, match=r"no checkpoint in .* can be used") as caught:
        network().fit(x, y, epochs=6, checkpoint=tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def tear(path, damage):
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-20] ^= 1
    if damage == "foreign":
        from safetensors.numpy import save

        content = save({"parameters": np.zeros(3)})
    path.write_bytes({"cut": content[:-100], "empty": b""}.get(damage, content))


OTHERS = {
    "batch_size": lambda x, y, s: (x, y, s | {"batch_size": 5}),
    "data": lambda x, y, s: (x + 1, y, s),
    "rows": lambda x, y, s: (x[:40], y[:40], s),
    "optimizer": lambda x, y, s: (x, y, s | {"optimizer": gpubp.Adam(0.5)}),
    "loss": lambda x, y, s: (x, y, s | {"loss": "squared_error"}),
    "shuffle": lambda x, y, s: (x, y, s | {"shuffle": False}),
    "callbacks": lambda x, y, s: (x, y, s | {"callbacks": [gpubp.EarlyStopping()]}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_is_refused_by_name(tmp_path, what):
    x, y = data()
    settings = {"epochs": 2, "batch_size": 10, "checkpoint": tmp_path}
    network().fit(x, y, **settings)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    x, y, settings = OTHERS[what](x, y, settings)
    net = network()
    untouched = parameters(net)
    with pytest.raises(errors.CheckpointError, match=f"is of another run: {what} is .* here and"):
        net.fit(x, y, resume=True, **settings)
    assert parameters(net) == untouched
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("settings", "what"),
    [({"seed": 1}, "seed"), ({"dropout": 0.3}, "dropout"), ({"dtype": "float64"}, "dtype")],
)
def test_another_network_is_refused_by_name(tmp_path, settings, what):
    x, y = data()
    network().fit(x, y, epochs=2, checkpoint=tmp_path)
    with pytest.raises(errors.CheckpointError, match=f"{what} is .* here and .* there"):
        network(**settings).fit(x, y, epochs=2, checkpoint=tmp_path, resume=True)


def test_arguments_that_make_no_sense_are_refused(tmp_path):
    x, y = data()
    with pytest.raises(errors.ConfigurationError, match="resume without checkpoint"):
        network().fit(x, y, resume=True)
    with pytest.raises(errors.ConfigurationError, match="every is 0"):
        network().fit(x, y, checkpoint=tmp_path, every=0)


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    x, y = data()
    net = network()
    untouched = parameters(net)
    with pytest.raises(errors.OutputPathError, match="cannot write"):
        net.fit(x, y, checkpoint=tmp_path / "file" / "run")
    assert parameters(net) == untouched


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path, monkeypatch):
    x, y = data()
    whole = network()
    whole.fit(x, y, epochs=5)
    writes, before = [], os.fsync

    def full(handle):
        writes.append(handle)
        if len(writes) > 4:  # a file and its folder for each of two checkpoints
            raise OSError(28, "No space left on device")
        before(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(errors.OutputPathError, match="No space left on device"):
        network().fit(x, y, epochs=5, checkpoint=tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2, "no part of a file is left"
    net = network()
    net.fit(x, y, epochs=5, checkpoint=tmp_path, resume=True)
    assert parameters(net) == parameters(whole)


def test_large_data_have_the_same_fingerprint_on_every_backend(backend, monkeypatch):
    from gpubp.data.batches import take_data
    from gpubp.data.feeds import feed_of
    from gpubp.nn.losses import get_loss

    monkeypatch.setattr(fingerprint, "SAMPLED_ROWS", 20)
    x, y = data()
    found = []
    for net in (network(backend), network("cpu")):
        loss = get_loss("auto", net.output)
        taken = take_data(net.stack, x, y, loss)
        found.append(feed_of(net.stack, taken, 5, True, loss).described())
    assert found[0] == found[1]


def test_a_fingerprint_sees_every_part_of_small_data():
    x = np.zeros((1000, 3), np.float32)
    first = fingerprint.fingerprint([x])
    for row in (0, 500, 999):
        other = x.copy()
        other[row, 1] = 1
        assert fingerprint.fingerprint([other]) != first
    assert fingerprint.fingerprint([x.astype(np.float64)]) != first
    assert fingerprint.fingerprint([x.reshape(3000, 1)]) != first
    assert len(fingerprint.sampled_rows(10**7)) == fingerprint.SAMPLED_ROWS
    assert fingerprint.sampled_rows(10**7)[[0, -1]].tolist() == [0, 10**7 - 1]
