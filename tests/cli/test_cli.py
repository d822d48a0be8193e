"""The command end to end, each run a process of its own."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from command_runs import ENVIRONMENT, good, gpubp, read_rows

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a mixed table, a model of it, and a regression model."""
    folder = tmp_path_factory.mktemp("command")
    random = np.random.default_rng(0)
    people, incomes = [["age", "town", "rich"]], [["age", "town", "income"]]
    for number in range(200):
        age, town = random.uniform(20, 70), random.choice(["Rome", "Oslo", ""])
        income = 30 * age + 400 * (town == "Oslo") + random.normal(0, 20)
        shown = "" if number % 17 == 0 else f"{age:.1f}"
        people.append([shown, town, "yes" if income > 1500 else "no"])
        incomes.append([shown, town, f"{income:.2f}"])
    for name, rows in (("people.csv", people), ("incomes.csv", incomes)):
        with open(folder / name, "w", newline="") as file:
            csv.writer(file).writerows(rows)
    good("train", "people.csv", "--target", "rich", "--epochs", 15, cwd=folder)
    good("train", "incomes.csv", "--target", "income", "--out", "income.model", cwd=folder)
    return folder


def test_a_training_goes_on_from_its_checkpoints(tmp_path):
    """Cut short and gone on with: the same model as trained in one go; another run is refused."""
    options = ("train", "iris", "--checkpoint", "run", "--validation", "0", "--epochs", "6")
    good(*options, "--out", "whole", cwd=tmp_path)
    for member in (0, 1):
        folder = tmp_path / "run" / f"member-{member}"
        os.remove(max(folder.iterdir()))  # as if it had been killed before the last epoch
    good(*options, "--resume", "--out", "long", cwd=tmp_path)
    load_file = pytest.importorskip("safetensors.numpy").load_file
    long, whole = (load_file(tmp_path / name) for name in ("long", "whole"))
    for name in ("parameters", "parameters.1"):
        np.testing.assert_array_equal(long[name], whole[name])
    done = gpubp(*options, "--resume", "--seed", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert "is of another run: seed is 1 here and 0 there" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_main_job_and_what_it_says_to_try_next(tmp_path):
    output = good("train", "digits", cwd=tmp_path)
    line = next(line for line in output.splitlines() if line.startswith("test accuracy"))
    assert float(line.split()[2]) >= 0.96
    assert "359 held-out rows" in line
    assert os.listdir(tmp_path) == ["digits.safetensors"]
    assert max(map(len, output.splitlines())) <= 80
    commands = [line.split() for line in output.partition("try next:")[2].splitlines() if line]
    assert [words[1] for words in commands] == ["evaluate", "predict", "explain"]
    for words in commands:
        assert words[0] == "gpubp"
        good(*words[1:], cwd=tmp_path)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_bundled_sets(name, tmp_path):
    report = json.loads(good("train", name, "--json", "--epochs", 30, cwd=tmp_path))
    assert report["task"] == ("regression" if name == "diabetes" else "classification")
    assert report["train_rows"] > report["test_rows"] > 0
    measured = json.loads(good("evaluate", report["out"], name, "--json", cwd=tmp_path))
    assert all(isinstance(value, float) for value in measured.values())


def test_presets_members_and_refit(tmp_path):
    """A setting that is given replaces that of the preset."""
    words = ("train", "wine", "--preset", "fast", "--members", "2", "--refit", "--time-limit", "60")
    report = json.loads(good(*words, "--json", cwd=tmp_path))
    assert report["members"] == 2
    assert report["accuracy"] > 0.9
    answers = json.loads(good("predict", report["out"], "wine", "--json", cwd=tmp_path))
    shares = [[answer[f"probability_class_{k}"] for k in range(3)] for answer in answers]
    np.testing.assert_allclose(np.sum(shares, axis=1), 1, rtol=1e-5)


def test_evaluate_agrees_with_scikit_learn(folder):
    metrics = pytest.importorskip("sklearn.metrics")
    measured = json.loads(
        good("evaluate", "people.safetensors", "people.csv", "--json", cwd=folder)
    )
    rows = read_rows(folder / "people.csv")
    good("predict", "people.safetensors", "people.csv", "--out", "p.csv", cwd=folder)
    answers = read_rows(folder / "p.csv")
    true, predicted = [row["rich"] for row in rows], [row["prediction"] for row in answers]
    shares = [[float(row[f"probability_{label}"]) for label in ("no", "yes")] for row in answers]
    assert measured["accuracy"] == pytest.approx(metrics.accuracy_score(true, predicted))
    assert measured["f1_macro"] == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
    shares = np.array(shares) / np.sum(shares, axis=1, keepdims=True)  # six digits were written
    assert measured["log_loss"] == pytest.approx(metrics.log_loss(true, shares), rel=1e-3)
    assert measured["accuracy"] > 0.8


def test_regression_agrees_with_scikit_learn(folder):
    metrics = pytest.importorskip("sklearn.metrics")
    measured = json.loads(good("evaluate", "income.model", "incomes.csv", "--json", cwd=folder))
    true = [float(row["income"]) for row in read_rows(folder / "incomes.csv")]
    good("predict", "income.model", "incomes.csv", "--out", "answers.csv", cwd=folder)
    predicted = [float(row["prediction"]) for row in read_rows(folder / "answers.csv")]
    assert measured["r2"] == pytest.approx(metrics.r2_score(true, predicted))
    error = metrics.mean_squared_error(true, predicted)
    assert measured["mean_squared_error"] == pytest.approx(error)
    assert measured["r2"] > 0.5


def test_predict_takes_the_raw_file_without_the_target(folder):
    (folder / "new.csv").write_text("town,age,other\nOslo,33.3,1\n,,2\n")
    answers = json.loads(good("predict", "people.safetensors", "new.csv", "--json", cwd=folder))
    names = {"prediction", "probability_no", "probability_yes"}
    assert [set(answer) for answer in answers] == [names] * 2


def test_unseen_categories_warn_or_are_refused(folder):
    (folder / "mars.csv").write_text("town,age\nMars,33\nRome,44\n")
    done = gpubp("predict", "people.safetensors", "mars.csv", cwd=folder)
    assert done.returncode == 0
    assert "1 of 2 rows" in done.stderr
    assert "'Mars'" in done.stderr
    done = gpubp("predict", "people.safetensors", "mars.csv", "--strict", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""


def test_export(folder):
    """What a file predicts by itself is what the command predicts."""
    for name in ("people.py", "people.onnx"):
        good("export", "people.safetensors", name, cwd=folder)
    alone = subprocess.run(
        [sys.executable, "people.py", "people.csv"], cwd=folder, capture_output=True, text=True
    )
    expected = good("predict", "people.safetensors", "people.csv", cwd=folder).splitlines()[1:]
    assert alone.stdout.split() == [line.split(",")[0] for line in expected]


def test_explain(folder):
    text = good("explain", "people.safetensors", "people.csv", "--row", 3, cwd=folder)
    assert "expected rich of row 3" in text
    for words in ("weighted sum", "slope", "error", "before", "after"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 80
    trace = json.loads(
        good("explain", "people.safetensors", "people.csv", "--row", 3, "--json", cwd=folder)
    )
    assert [len(layer["bias_after"]) for layer in trace["layers"]] == [1, 256, 256, 256, 2]
    assert trace["loss_after"] <= trace["loss"]
    (folder / "new2.csv").write_text("town,age\nOslo,33.3\n")
    assert "own answer is expected" in good("explain", "people.safetensors", "new2.csv", cwd=folder)


def test_doctor(tmp_path):
    facts = json.loads(good("doctor", "--json", cwd=tmp_path))
    assert facts["backends"]["cpu"] == ""
    assert facts["auto"] == "cpu"
    assert facts["auto_reason"] == "GPUBP_BACKEND=cpu"
    assert facts["versions"]["numpy"] == np.__version__
    assert any(library["library"] for library in facts["blas"])
    text = good("doctor", cwd=tmp_path)
    assert "backend gpu" in text
    assert "BLAS" in text


BAD = [
    (["train", "nothing.csv", "--target", "y"], "'nothing.csv' does not exist"),
    (["train", "empty.csv", "--target", "y"], "is empty"),
    (["train", "header.csv", "--target", "b"], "no rows"),
    (["train", "one.csv", "--target", "y"], "one class only"),
    (["train", "inf.csv", "--target", "y"], "row 7.*inf|inf.*row 7"),
    (["train", "people.csv"], "--target is missing"),
    (["train", "people.csv", "--target", "ritch"], "did you mean 'rich'"),
    (["train", "people.csv", "--target", "rich", "--task", "regression"], "is text"),
    (["train", "iris", "--hidden", "12,x"], "--hidden is '12,x'"),
    (["train", "iris", "--activation", "rleu"], "did you mean 'relu'"),
    (["train", "iris", "--optimizer", "adma"], "did you mean 'adam'"),
    (["train", "iris", "--optimizer", "sgd", "--weight-decay", "1"], "is for adamw"),
    (["train", "iris", "--epochs", "0"], "epochs is 0"),
    (["train", "iris", "--learning-rate", "-1"], "learning_rate is -1.0"),
    (["train", "iris", "--dropout", "1"], "dropout is 1.0"),
    (["train", "iris", "--batch-size", "0"], "batch_size is 0"),
    (["train", "iris", "--batch-size", "500"], "batch_size is 500 and the data have 90 rows"),
    (["train", "iris", "--test", "0.9"], "leave nothing to train on"),
    (["train", "iris", "--preset", "bset"], "did you mean 'best'"),
    (["train", "iris", "--members", "0"], "members is 0"),
    (["train", "iris", "--backend", "tpu"], "known: auto, cpu, gpu"),
    (["train", "iris", "--dtype", "float16"], "float32 or float64"),
    (["train", "iris", "--task", "clustering"], "auto, classification, regression"),
    (["train", "iris", "--seed", "-1"], "seed is -1"),
    (["train", "iris", "--out", "none/model"], "cannot write none/model: No such file"),
    (["train", "iris", "--out", "."], "is a folder"),
    (["train", "iris", "--out", "people.csv/model"], "cannot write people.csv/model: Not a dir"),
    (["predict", "torn.model", "people.csv"], "torn or no model file"),
    (["predict", "people.csv", "people.csv"], "torn or no model file"),
    (["predict", "none.model", "people.csv"], "does not exist"),
    (["predict", "people.safetensors", "one.csv"], "lacks the column"),
    (["predict", "people.safetensors", "text.csv"], "'age'"),
    (["predict", "people.safetensors", "people.csv", "--out", "none/p.csv"], "cannot write"),
    (["evaluate", "people.safetensors", "text2.csv"], "unknown column 'rich'"),
    (["explain", "people.safetensors", "people.csv", "--row", "201"], "row from 1 to 200"),
    (["explain", "people.safetensors", "people.csv", "--row", "0"], "row from 1 to 200"),
    (["export", "people.safetensors", "people.pmml"], "ends in '.pmml'; .onnx or .py is needed"),
    (["export", "people.safetensors", "none/people.py"], "cannot write"),
    (["export", "none.model", "people.py"], "does not exist"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(words, message, folder):
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("a,b\n")
    (folder / "one.csv").write_text("a,y\n" + "1,x\n" * 20)
    (folder / "inf.csv").write_text("a,y\n" + "1,x\n2,z\n" * 3 + "inf,x\n" + "1,x\n2,z\n" * 9)
    (folder / "text.csv").write_text("town,age\nRome,old\n")
    (folder / "text2.csv").write_text("town,age\nRome,33\n")
    (folder / "torn.model").write_bytes((folder / "people.safetensors").read_bytes()[:200])
    before = {name: os.path.getmtime(folder / name) for name in os.listdir(folder)}
    done = gpubp(*words, cwd=folder)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("gpubp: error: ")]
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in done.stderr
    assert {name: os.path.getmtime(folder / name) for name in os.listdir(folder)} == before


def test_usage_errors_exit_with_2(tmp_path):
    for words in (["nonsense"], ["train"], ["train", "iris", "--epochs", "many"]):
        done = gpubp(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_gpu_asked_for_and_not_there(tmp_path):
    from gpubp.backends import available_backends

    reason = available_backends()["gpu"]
    if not reason:
        pytest.skip("a GPU works here")
    done = gpubp("train", "iris", "--backend", "gpu", cwd=tmp_path)
    assert done.returncode == 2
    assert " ".join(reason.split()) in done.stderr


def test_divergence_saves_the_last_good_weights(tmp_path):
    done = gpubp(
        "train", "digits", "--optimizer", "sgd", "--learning-rate", "1e12", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 1
    assert "not finite at step" in done.stderr
    assert "layer" in done.stderr
    measured = json.loads(good("evaluate", "digits.safetensors", "digits", "--json", cwd=tmp_path))
    assert 0 <= measured["accuracy"] <= 1


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_saves_the_best_model_so_far(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "gpubp", "train", "digits", "--epochs", "100000",
         "--patience", "100000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        # a shell that started the tests in the background has them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("backend:"):
            break
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()  # nothing goes on after a test that failed
    assert process.returncode == 130
    assert "best model so far is saved" in errors
    assert "Traceback" not in errors
    measured = json.loads(good("evaluate", "digits.safetensors", "digits", "--json", cwd=tmp_path))
    assert measured["accuracy"] > 0.9


PRESSED_AT_AN_IMPORT = """
import builtins, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Press:
    def find_spec(self, name, *others):
        if name == "gpubp.cli.app":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                raise getattr(builtins, sys.argv[1]) from error
sys.meta_path.insert(0, Press())
from gpubp.__main__ import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "AttributeError"])
def test_ctrl_c_while_the_command_is_imported_is_one_line(tmp_path, raised):
    """On a busy machine imports take seconds, and pandas' raises another error when torn."""
    command = [sys.executable, "-c", PRESSED_AT_AN_IMPORT, raised]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 130
    assert done.stderr == "gpubp: interrupted before it was done; no file is left half written\n"


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals of POSIX")
def test_the_bar_is_drawn_on_a_terminal_only(tmp_path):
    import pty

    words = [sys.executable, "-m", "gpubp", "train", "iris", "--epochs", "3"]
    piped = gpubp("train", "iris", "--epochs", "3", cwd=tmp_path)
    assert piped.stderr == ""
    main, secondary = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm"}
    process = subprocess.Popen(
        words, cwd=tmp_path, stdin=secondary, stdout=secondary, stderr=secondary, env=environment
    )
    os.close(secondary)
    shown = b""
    try:
        while chunk := os.read(main, 65536):
            shown += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(main)
    assert process.wait(30) == 0
    assert "3/3" in shown.decode()
    assert "━" in shown.decode()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_line(folder):
    done = gpubp("predict", "people.safetensors", "people.csv", "--out", "/dev/full", cwd=folder)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gpubp", "predict", "people.safetensors", "people.csv"],
            cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env=ENVIRONMENT,
        )  # fmt: skip
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error(folder):
    script = f"{sys.executable} -m gpubp predict people.safetensors people.csv | head -1"
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True, env=ENVIRONMENT,
        check=False,
    )  # fmt: skip
    assert done.stdout.startswith("prediction,")
    assert done.stderr == ""


def test_a_missing_extra_is_named(tmp_path):
    code = (
        "import sys, importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *rest: None if name == 'typer' else find(name, *rest);"
        "from gpubp.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "gpubp: error: the command needs typer: pip install 'gpubp[cli]'\n"


def test_version_and_help(tmp_path):
    import gpubp as package

    assert good("--version", cwd=tmp_path) == f"gpubp {package.__version__}\n"
    assert "train" in good("--help", cwd=tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "inspect",
        "train",
        "tune",
        "predict",
        "evaluate",
        "explain",
        "report",
        "learn",
        "export",
        "launch",
        "plan",
    ],
)
def test_every_help_has_an_example(tmp_path, name):
    said = " ".join(good(name, "--help", cwd=tmp_path).split())
    assert f"Example: gpubp {name}" in said


def test_completion_can_be_installed(tmp_path):
    assert "--install-completion" in good("--help", cwd=tmp_path)


def test_pages_are_written(folder, tmp_path):
    """`explain --html` names columns and classes; `learn` needs no data; bad input is one line."""
    page = tmp_path / "step.html"
    model = folder / "people.safetensors"
    good("explain", model, folder / "people.csv", "--row", 3, "--html", page, cwd=folder)
    text = page.read_text()
    assert '"target": "rich"' in text
    assert '"outputs": ["no", "yes"]' in text
    assert "town" in text
    good("learn", "xor", "--out", page, "--language", "fa", cwd=folder)
    assert '"language": "fa"' in page.read_text()
    for words, why in (
        (("learn", "xr"), "unknown lesson 'xr'"),
        (("learn", "--language", "xx"), "unknown language 'xx'"),
        (("learn", "--out", tmp_path / "none" / "a.html"), "cannot write"),
    ):
        done = gpubp(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert why in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == [page]


def test_reports_are_written_and_refused_before_training(folder, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    page, model = tmp_path / "report.html", folder / "people.safetensors"
    good("report", model, folder / "people.csv", "--out", page, cwd=tmp_path)
    assert "Which columns matter" in page.read_text()
    options = ("train", folder / "people.csv", "--target", "rich", "--epochs", 2, "--out", "m")
    good(*options, "--preset", "fast", "--report", page, cwd=tmp_path)
    text = page.read_text()
    assert "the test part" in text
    assert "gpubp train" in text
    (tmp_path / "m").unlink()
    done = gpubp(*options, "--report", tmp_path / "none" / "report.html", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    done = gpubp(*options, "--stream", "--report", page, cwd=tmp_path)
    assert done.returncode == 2
    assert "read while training" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == [page]


def test_inspect_says_what_a_table_holds_and_trains_nothing(tmp_path):
    lines = ["id,town,price,y"]
    for number in range(60):
        town = "Rome" if number % 2 else "Oslo"
        lines.append(f"{number},{town if number != 3 else ''},{number % 7}.5,{number % 3}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    done = gpubp("inspect", "t.csv", "--target", "y", cwd=tmp_path)
    assert done.returncode == 0
    assert "classification of y: 60 rows, 4 columns" in done.stdout
    assert "2 different: Oslo, Rome" in done.stdout
    assert "the target" in done.stdout
    assert "column 'id' numbers the rows, which says nothing of new ones: --drop id" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    trained = gpubp("train", "t.csv", "--target", "y", "--epochs", 1, cwd=tmp_path)
    assert "column 'id' numbers the rows" in trained.stderr
