"""The history as a table, as a picture and as a file."""

from __future__ import annotations

import csv
import re
import sys

import numpy as np
import pytest

import gpubp
from gpubp import errors

HISTORY = gpubp.History([3.0, 2.0, 1.0], [2.5, 1.5, 1.75], [0.1, 0.2, 0.3])


def test_columns_leave_out_what_there_is_not():
    assert list(HISTORY.columns()) == ["epoch", "loss", "validation_loss", "seconds"]
    assert list(gpubp.History([1.0], [], [0.1]).columns()) == ["epoch", "loss", "seconds"]


def test_it_is_told_in_one_line():
    assert repr(HISTORY) == (
        "History(3 epochs, loss 1, validation loss 1.75, best 1.5 after epoch 2, 0.6 s)"
    )
    stopped = gpubp.History([1.0], stopped="interrupted", metrics={"auc": [0.75]})
    assert repr(stopped) == "History(1 epochs, loss 1, auc 0.75, stopped: interrupted)"
    assert repr(gpubp.History()) == "History(0 epochs)"


def test_to_pandas():
    pytest.importorskip("pandas")
    frame = HISTORY.to_pandas()
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.loc[2].to_dict() == {"loss": 2.0, "validation_loss": 1.5, "seconds": 0.2}


def test_plot_shows_both_losses_and_the_best_epoch():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    axes = HISTORY.plot()
    training, validation, best = axes.get_lines()
    assert training.get_ydata().tolist() == HISTORY.loss
    assert validation.get_ydata().tolist() == HISTORY.validation_loss
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, 1.5)
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == ["training", "validation", "best: 1.5 after epoch 2"]
    assert not axes.texts  # nothing lies across the curves
    _, own = pyplot.subplots()
    assert gpubp.History([1.0], [], [0.1]).plot(own) is own
    assert len(own.get_lines()) == 1
    assert own.get_lines()[0].get_marker() == "o"  # a line of one point is not seen
    pyplot.close("all")


@pytest.mark.parametrize(("method", "module"), [("to_pandas", "pandas"), ("plot", "matplotlib")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, method, module):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    extra = {"pandas": "pandas", "matplotlib": "plot"}[module]
    with pytest.raises(errors.MissingExtraError, match=rf"pip install 'gpubp\[{extra}\]'"):
        getattr(HISTORY, method)()


@pytest.mark.parametrize("validation", [True, False])
def test_a_log_is_whole_after_every_epoch(tmp_path, validation):
    path, seen = tmp_path / "log.csv", []

    class Look(gpubp.CSVLog):
        def epoch_end(self, net, history):
            wish = super().epoch_end(net, history)
            seen.append(path.read_text().count("\n"))
            return wish

    x, y = np.ones((20, 3)), np.zeros(20, int)
    net = gpubp.Network([3, 2], output="softmax", backend="cpu")
    settings = {"validation": (x, y)} if validation else {}
    history = net.fit(x, y, epochs=3, callbacks=[Look(path)], **settings)
    assert seen == [2, 3, 4]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == history.loss
    assert [float(row["seconds"]) for row in rows] == history.seconds
    assert ("validation_loss" in rows[0]) == validation


def test_a_log_that_cannot_be_written_is_found_before_training(tmp_path):
    net = gpubp.Network([3, 2], output="softmax", backend="cpu")
    before = net.parameters.copy()
    with pytest.raises(errors.OutputPathError, match="cannot write"):
        net.fit(np.ones((4, 3)), np.zeros(4, int), callbacks=[gpubp.CSVLog(tmp_path)])
    np.testing.assert_array_equal(net.parameters, before)


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboardX")
    records = pytest.importorskip("tensorboardX.record_writer")
    from tensorboardX.proto.event_pb2 import Event

    assert records
    x = np.random.default_rng(0).standard_normal((40, 3))
    net = gpubp.Network([3, 4, 1], backend="cpu")
    history = net.fit(
        x, x[:, 0], epochs=3, validation=(x, x[:, 0]), callbacks=[gpubp.TensorBoard(tmp_path)]
    )
    (file,) = tmp_path.glob("events*")
    content, found, place = file.read_bytes(), {}, 0
    while place < len(content):  # TFRecord: length, its checksum, the event, its checksum
        length = int.from_bytes(content[place : place + 8], "little")
        event = Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert [step for step, _ in found["loss/training"]] == [1, 2, 3]
    np.testing.assert_allclose([v for _, v in found["loss/training"]], history.loss, rtol=1e-6)
    validation = [value for _, value in found["loss/validation"]]
    np.testing.assert_allclose(validation, history.validation_loss, rtol=1e-6)
    assert len(found["seconds"]) == 3


def test_tensorboard_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(gpubp.errors.MissingExtraError, match=r"gpubp\[tensorboard\]"):
        gpubp.Network([1, 1]).fit([[1.0]], [1.0], callbacks=[gpubp.TensorBoard(tmp_path)])


@pytest.mark.parametrize("best", [True, False])
def test_the_best_model_is_saved(tmp_path, best):
    pytest.importorskip("safetensors")
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 30, 5)), random.standard_normal((2, 30))
    kept = []

    class Watch(gpubp.EarlyStopping):
        def epoch_end(self, net, history):
            kept.append(net.parameters.copy())
            return False

        def end(self, net, history):
            pass

    net = gpubp.Network([5, 30, 1], backend="cpu")
    callbacks = [gpubp.ModelCheckpoint(tmp_path / "net.safetensors", best), Watch()]
    history = net.fit(
        x[0],
        y[0],
        epochs=60,
        validation=(x[1], y[1]),
        optimizer=gpubp.Adam(0.02),
        callbacks=callbacks,
    )
    number = int(np.argmin(history.validation_loss)) if best else -1
    assert int(np.argmin(history.validation_loss)) < 59, "the last is not the best"
    saved = gpubp.Network.load(tmp_path / "net.safetensors", "cpu")
    np.testing.assert_array_equal(saved.parameters, kept[number])


def test_a_model_checkpoint_that_cannot_be_written_is_found_before_training(tmp_path):
    keeper = gpubp.ModelCheckpoint(tmp_path / "no" / "net.safetensors")
    with pytest.raises(gpubp.errors.OutputPathError, match="cannot write"):
        gpubp.Network([1, 1]).fit([[1.0]], [1.0], callbacks=[keeper])


@pytest.mark.parametrize("columns", [45, 120])
def test_a_live_bar_keeps_its_words_on_any_terminal(monkeypatch, columns, capsys):
    pytest.importorskip("rich")
    from gpubp.training.logs import ProgressBar

    for name, value in (("COLUMNS", columns), ("FORCE_COLOR", 1), ("TERM", "xterm")):
        monkeypatch.setenv(name, str(value))
    bar = ProgressBar()
    bar.begin(None, 20)
    bar.epoch_end(None, gpubp.History([1.2345], [2.3456], [0.1]))
    bar.end(None, gpubp.History())
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    for word in ("epoch", "1/20", "loss 1.2345", "validation 2.3456", "left"):
        assert word in shown
    assert max(map(len, shown.replace("\r", "\n").splitlines())) <= columns
