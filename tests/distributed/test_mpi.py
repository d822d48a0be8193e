"""Training by real processes over MPI: `nox -s mpi` runs these with MPICH and with Open MPI."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gpubp.distributed import launching
from kernel_compilation import host_compiler
from mpi_jobs import AT_MOST, TIMEOUT, finished, nothing_left, pytestmark  # noqa: F401

SCRIPT = """
import hashlib, json, os, signal, sys, time
import numpy as np
import gpubp
import gpubp.data
from gpubp.distributed import communicator

given = json.loads(sys.argv[1])
what, at = given.pop("fault", ""), given.pop("at", 1)
talk = communicator(given.pop("timeout", None))
out, stream = given.pop("out", ""), given.pop("stream", "")
generator = np.random.default_rng(0)
x = generator.standard_normal((403, 6)).astype(np.float32)
y = generator.integers(0, 3, 403)

class Order:
    def __call__(self, epoch):
        if epoch == at and talk.rank == talk.size - 1:
            if what == "raise":
                raise RuntimeError("boom")
            if what == "exit":
                sys.exit(3)
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "sleep":
                time.sleep(1000)
        if what == "slow":
            print("epoch", epoch, flush=True)
            time.sleep(0.2)
        return np.random.default_rng(epoch).permutation(403)

backend = given.pop("backend", "cpu")
if backend == "gpu":  # simulated, its NCCL by MPI
    sys.path.append(given.pop("tests"))  # PYTHONPATH's first folder is lost under `-m mpi4py`
    import pytest
    from mpi4py import MPI
    import simulated.cupy
    import simulated.nccl
    from gpubp.distributed import host_sums as reduction
    patch = pytest.MonkeyPatch()
    patch.setattr(reduction, "BUCKET", given.pop("bucket"))
    cupy = simulated.cupy.install(patch, count=talk.size)
    simulated.nccl.install(patch, cupy.cuda, MPI.COMM_WORLD)
data = (x, y) if not stream else (gpubp.data.ArrayDataset(x, y, block=50, window=2),)
if not stream:
    given["shuffle"] = Order()
net = gpubp.Network([6, 16, 3], output="softmax", backend=backend, dropout=given.pop("dropout", 0))
fit = {"epochs": 3, "batch_size": 50, "distributed": talk} | given
try:
    history = net.fit(*data, **fit)
except KeyboardInterrupt:
    print("interrupted", talk.rank, net.history.stopped, flush=True)
    raise SystemExit(130)
if talk.is_root and out:
    np.save(out, net.backend.to_numpy(net.parameters))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


def launched(script, ranks, **given):
    """Run the script by `gpubp launch`; return what happened, and after how many seconds."""
    words = [sys.executable, "-m", "gpubp", "launch", "-n", str(ranks), script, json.dumps(given)]
    return finished(words)


def weights(script, tmp_path, ranks, **given):
    out = str(tmp_path / f"{ranks}.npy")
    done = launched(script, ranks, out=out, **given)
    assert done.returncode == 0, done.text
    return np.load(out)


def test_ranks_train_as_one_process(script, tmp_path):
    one = weights(script, tmp_path, 1)
    for ranks in (2, 3):
        found = weights(script, tmp_path, ranks)
        np.testing.assert_allclose(found, one, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize(("stream", "bucket"), [("", 1 << 20), ("yes", 100), ("", 100)])
def test_gpus_train_as_one_through_nccl(script, tmp_path, stream, bucket):
    if host_compiler() is None:
        pytest.skip("the simulated GPU needs a C++ compiler: g++ or clang++")
    tests = str(Path(__file__).parent.parent)
    given = {"backend": "gpu", "tests": tests, "stream": stream, "shards": 6, "bucket": bucket}
    one = weights(script, tmp_path, 1, **given)
    for ranks in (2, 3):
        found = weights(script, tmp_path, ranks, **given)
        np.testing.assert_allclose(found, one, rtol=3e-5, atol=3e-5)


MEMBERS = """
import json, sys
import numpy as np
import gpubp
from gpubp.distributed import communicator

given, talk = json.loads(sys.argv[1]), communicator()
generator = np.random.default_rng(0)
x = generator.standard_normal((403, 6)).astype(np.float32)
y = generator.integers(0, 3, 403)
nets = gpubp.Networks([6, 16, 3], 5, output="softmax", backend="cpu", dropout=0.2)
fourth = "optimiser" if "wrong" in given else "adam"
optimizer = gpubp.Each(["adam", gpubp.SGD(0.1), "adam", fourth, "adamw"])
nets.fit(x, y, epochs=3, batch_size=50, optimizer=optimizer, distributed=talk)
np.save(given["out"] + f"-{talk.rank}.npy", nets.parameters)
"""


def test_members_are_dealt_to_the_ranks(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(MEMBERS)
    found = []
    for ranks in (1, 2, 3):
        out = str(tmp_path / str(ranks))
        done = launched(str(path), ranks, out=out)
        assert done.returncode == 0, done.text
        found += [np.load(f"{out}-{rank}.npy") for rank in range(ranks)]
    for parameters in found:
        np.testing.assert_array_equal(parameters, found[0])
    done = launched(str(path), 2, out="", wrong=True)
    assert done.returncode == 1, done.text
    assert "UnknownNameError: unknown optimizer 'optimiser'" in done.text
    assert done.seconds < AT_MOST


@pytest.mark.parametrize("stream", ["", "yes"])
def test_any_number_of_ranks_gives_the_same_bits(script, tmp_path, stream):
    given = {"deterministic": True, "dropout": 0.2, "stream": stream}
    one = weights(script, tmp_path, 1, **given)
    for ranks in (2, 3, 5):
        np.testing.assert_array_equal(weights(script, tmp_path, ranks, **given), one)


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("raise", {1}, "RuntimeError: boom"),
        ("exit", {1, 3}, ""),
        ("kill", {9, 137}, ""),
        ("sleep", {75}, "rank 0 waited 2 s at step 10 for the sum of the gradients: another rank"),
    ],
)
@pytest.mark.parametrize("start", ["launch", "python"])
def test_one_rank_that_fails_ends_all(script, fault, code, said, start):
    given = {"fault": fault, "timeout": 2.0}
    if start == "launch":
        done = launched(script, 3, **given)
        assert done.returncode in code, done.text
    else:  # without `-m mpi4py`: gpubp's own guard
        command = [launching.find_launcher(), *_crowded(3), "-n", "3", sys.executable, script]
        before = launching._segments()
        done = finished([*command, json.dumps(given)], launching.environment(3))
        launching._sweep(launching._segments() - before)  # mpiexec itself does not
        assert done.returncode in code, done.text
    assert said in done.text
    assert done.text.count("waited") <= 1
    assert done.seconds < AT_MOST


def _crowded(ranks):
    open_mpi = launching.launcher_vendor(launching.find_launcher()) == "Open MPI"
    return ["--oversubscribe"] if open_mpi and ranks > (os.cpu_count() or 1) else []


@pytest.mark.parametrize("told", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_the_wrong_launcher_is_refused(script, told):
    # as a process finds itself under the launcher of another MPI: told of 2, alone in MPI's eyes
    environment = launching.environment(1) | {told: "2", "PMI_RANK": ""}
    environment.pop("PMI_RANK")
    done = finished([sys.executable, script, "{}"], environment)
    assert done.returncode == 1, done.text
    assert "DistributedError" in done.text
    assert "start with `gpubp launch`" in done.text
    assert done.seconds < AT_MOST


@pytest.mark.parametrize("stream", ["", "yes"])
def test_a_killed_training_goes_on_with_another_number_of_ranks(script, tmp_path, stream):
    pytest.importorskip("safetensors")
    given = {"deterministic": True, "epochs": 6, "stream": stream}
    whole = weights(script, tmp_path, 2, **given)
    keep = {"checkpoint": str(tmp_path / "run"), "every": 4}
    if stream:  # cut off at an epoch's end, where no rank can be told to kill itself
        weights(script, tmp_path, 3, **given | {"epochs": 3}, **keep)
    else:
        done = launched(script, 3, **given, **keep, fault="kill", at=3)
        assert done.returncode in (9, 137), done.text
    found = weights(script, tmp_path, 1, **given, **keep, resume=True)
    np.testing.assert_array_equal(found, whole)


def test_ctrl_c_ends_all_ranks_at_one_step(script):
    words = [sys.executable, "-m", "gpubp", "launch", "-n", "2", script]
    process = subprocess.Popen(
        [*words, json.dumps({"fault": "slow", "epochs": 500})],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        while b"epoch 1" not in process.stdout.readline():
            pass
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        start = time.monotonic()
        process.communicate(timeout=TIMEOUT)
        assert time.monotonic() - start < AT_MOST
        assert process.returncode != 0
    finally:
        process.kill()


def test_the_command_trains_in_several_processes(tmp_path):
    pytest.importorskip("sklearn")
    words = [sys.executable, "-m", "gpubp", "launch", "-n", "2", "train", "iris", "--epochs", "30"]
    done = finished([*words, "--json", "--out", str(tmp_path / "m.safetensors")])
    assert done.returncode == 0, done.text
    report = json.loads(done.stdout)
    assert report["ranks"] == 2
    assert report["accuracy"] > 0.8
    assert report["rows_per_second"] == pytest.approx(2 * report["rows_per_second_a_rank"], abs=2)
    assert 0 < report["communication_share"] < 1
    assert Path(tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.csv"], "'nothing.csv' does not exist"),
        (["iris", "--out", "/no/m"], "cannot write"),
    ],
)
def test_bad_input_is_said_and_ends_all(words, said):
    done = finished([sys.executable, "-m", "gpubp", "launch", "-n", "2", "train", *words])
    assert done.returncode == 2, done.text
    assert said in done.text
    assert "Traceback" not in done.text
