"""The scripts for a first GPU, run on the simulated one, from a checkout that is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kernel_compilation import host_compiler

CHECKOUT = Path(__file__).parent.parent.parent
TESTS = CHECKOUT / "tests"
SIMULATED = f"""
import sys
sys.path.append({str(TESTS)!r})
try:
    import gpubp.backends
except ImportError:  # the script itself: it has to do without
    pass
else:
    import pytest, simulated.cupy
    simulated.cupy.install(pytest.MonkeyPatch())
"""

pytestmark = [
    pytest.mark.simulated_gpu,
    pytest.mark.skipif(os.name != "posix", reason="processes are ended by their group"),
    pytest.mark.skipif(
        host_compiler() is None, reason="the simulated GPU needs a C++ compiler: g++ or clang++"
    ),
]


@pytest.fixture
def scripts(monkeypatch):
    """The modules of the benchmarks."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    names = ("first_contact", "contact_checks", "gpu", "gpu_probes", "gpu_report", "process")
    names = (*names, "cases", "limited")
    import importlib

    found = SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    yield found
    for name in [*names, "package", "markdown"]:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python with NumPy and pytest but no gpubp, whose CuPy is the simulated one."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # a path in a .pth file is not searched for .pth files: an editable install is not found
    places = {str(Path(module.__file__).parent.parent) for module in (np, pytest)}
    (site / "others.pth").write_text("\n".join(places))
    (site / "sitecustomize.py").write_text(SIMULATED)
    python = folder / "bin" / "python"
    search = subprocess.run(
        [python, "-c", "import gpubp"], cwd=folder, env=clean(), capture_output=True, check=False
    )
    if search.returncode == 0:
        pytest.skip("gpubp is installed beside NumPy")
    return python


def clean(**more):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    kept.pop("PYTHONSAFEPATH", None)
    return kept | more


def run(python, part, out, *options):
    command = [python, CHECKOUT / "benchmarks" / "first_contact.py", part, "--out", out, *options]
    done = subprocess.run(
        command, env=clean(), capture_output=True, text=True, cwd=out, check=False, timeout=300
    )
    return done, json.loads((out / f"{part}.json").read_text())


def answers(rows):
    return {row["question"]: row["answer"] for row in rows}


def test_tests_run_from_a_bare_checkout(bare, tmp_path):
    """As many as 12 seconds allow; what was not ended by then is told."""
    done, rows = run(bare, "tests", tmp_path, "--minutes", "0.2")
    assert done.stderr == ""
    found = answers(rows)
    for question in (
        "does a launch, a copy and a product work",
        "does a captured cublasLtMatmul replay",
        "is work recorded and replayed",
    ):
        assert found[question].startswith("yes, "), (found, done.stdout)
    left_out = [each for each in found.values() if each.startswith(("no time was left", "no end"))]
    assert left_out, found
    assert done.returncode == 1


def test_what_there_was_no_time_for_is_told(bare, tmp_path):
    done, rows = run(bare, "tests", tmp_path, "--minutes", "0.0001")
    assert "no time was left" in answers(rows).values()
    assert "run it again with more --minutes" in done.stdout
    assert done.returncode == 1


def test_questions_and_measurements_run_from_a_bare_checkout(bare, tmp_path):
    """On the simulated GPU, whose times say nothing."""
    script = (
        "import sys, pathlib, first_contact as contact, package;"
        " out = pathlib.Path(sys.argv[1]); found = package.environment(out);"
        " questions, speed = (contact.Report(part, out, 2) for part in ('questions', 'speed'));"
        " contact.run_questions(questions, found, size=16);"
        " contact.run_speed(speed, found, ['--peers', 'well,hanging', '--ceilings', 'well',"
        " '--limit', '3', '--cases', '784-128-10/128/relu$']);"
        " sys.exit(max(questions.end(), speed.end()))"
    )
    done = subprocess.run(
        [bare, "-c", script, tmp_path],
        env=clean(PYTHONPATH=str(CHECKOUT / "benchmarks")),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stderr == ""
    rows = json.loads((tmp_path / "questions.json").read_text())
    found = answers(rows)
    of = {row["question"]: row for row in rows}
    assert found["does a captured cublasLtMatmul replay"] == "yes", rows
    assert found["which epilogues pay, by dtype: microseconds"] == "see below"
    assert float(found["microseconds of a node"]) > 0
    assert float(found["gain of the second stream, a factor"]) > 0
    ways = of["which ways a step of 784-512-512-10 takes: microseconds of each"]
    for kind in ("forward", "output", "branch"):
        for precision in ("float32", "bfloat16"):
            assert any(key.startswith(f"{precision} {kind} ") for key in ways), ways
    steps = of["microseconds of a step, by the library's products and by tiles"]
    assert set(steps["[784, 128, 10] bfloat16 batch 32"]) == {"products", "tiles"}
    lockstep = of["time of a step of 64 networks by that of one, at most 4"]
    assert float(lockstep["answer"]) > 0
    assert lockstep["notes"] == []
    assert all(row["advice"] == "" for row in rows), rows
    (row,) = json.loads((tmp_path / "speed.json").read_text())
    assert row["answer"].startswith("in ")
    table = json.loads((tmp_path / "no-gpu.json").read_text())
    assert all("well" in case["rounds"] for case in table["cases"].values())


def test_the_products_of_a_step_are_recorded_and_replayed(bare, tmp_path):
    """What a step's time is compared with; random numbers are the host's, as none are simulated."""
    script = (
        "import sys, cupy, numpy, gpu_gpubp_peer as peer; from cases import Case;"
        " peer.rows = lambda *shape: cupy.asarray(numpy.ones(shape, numpy.float32));"
        " kinds = ('step', 'predict');"
        " runs = [peer.Products().step(Case(kind, (12, 8, 4), 6)) for kind in kinds];"
        " print([run(3)[0] for run in runs])"
    )
    code = (
        "import os, pathlib, package, subprocess, sys; found = package.environment("
        "pathlib.Path(sys.argv[1])); paths = [*sys.argv[2:], found['PYTHONPATH']];"
        f" command = [sys.executable, '-c', {script!r}]; sys.exit(subprocess.run("
        "command, env=found | {'PYTHONPATH': os.pathsep.join(paths)}).returncode)"
    )
    places = [str(CHECKOUT / "benchmarks"), str(CHECKOUT / "benchmarks" / "peers")]
    done = subprocess.run(
        [bare, "-c", code, tmp_path, *places],
        env=clean(PYTHONPATH=places[0], GPUBP_SIMULATED_MAJOR="9"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.stderr, done.stdout.strip()) == ("", "[3, 3]")


def test_parts_named_together_share_their_time(scripts):
    """The four that are worth most end within a quarter of an hour, three of them in 10 minutes."""
    deadlines = scripts.first_contact.deadlines
    *_, first = deadlines(["tests", "questions", "kernels"], None)
    *_, all_of_them = deadlines(["tests", "questions", "kernels", "speed"], None)
    assert first < 10
    assert all_of_them < 15 - 1.5, "a machine takes its time to start"
    assert deadlines(["tests", "questions"], 11) == pytest.approx([7, 11])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("import time\ndef test(): time.sleep(60)", "no end after 2 s"),
        ("import os\ndef test(): os.kill(os.getpid(), 11)", "the process died of signal 11"),
        ("import no_such_module", "(No module named 'no_such_module')"),
        ("def test(): raise MemoryError('out of memory')", "failed: 1 failed"),
        ("", "there were no such tests"),
    ],
)
def test_what_hangs_or_dies_keeps_nothing_else_from_its_turn(scripts, tmp_path, text, answer):
    first, second = tmp_path / "test_bad.py", tmp_path / "test_good.py"
    mark = "import pytest\npytestmark = pytest.mark.gpu\n"
    first.write_text(mark + text)
    second.write_text(mark + "def test(): pass")
    contact = scripts.first_contact
    checks = [
        contact.Check(path.stem, (str(path),), f"try {path.stem}", limit=limit)
        for path, limit in ((first, 2 if "sleep" in text else 30), (second, 30))
    ]
    report = contact.Report("tests", tmp_path, 1)
    contact.run_tests(report, clean(), checks)
    rows = json.loads((tmp_path / "tests.json").read_text())
    bad, good = sorted(rows, key=lambda row: row["question"])
    assert answer in bad["answer"]
    assert bad["advice"].startswith("try test_bad; ")
    assert good["answer"].startswith("yes, 1 passed")
    assert "- test_bad: try test_bad" in (tmp_path / "tests.md").read_text()
    assert report.end() == 1


def test_a_share_of_the_tests_and_their_errors(scripts, monkeypatch, tmp_path):
    test = tmp_path / "test_errors.py"
    test.write_text(
        "import numpy as np, pytest\nfrom tolerances import assert_close\n"
        "pytestmark = pytest.mark.gpu\n@pytest.mark.parametrize('n', range(12))\n"
        "def test(n): assert_close(np.ones(2) + n * 2**-52, np.ones(2, np.longdouble))"
    )
    monkeypatch.setattr(scripts.first_contact, "KERNEL_TESTS", (str(test),))
    report = scripts.first_contact.Report("kernels", tmp_path, 2)
    scripts.first_contact.run_kernels(report, clean(), processes=3)
    found = answers(report.rows)
    passed = [int(found[f"share {number} of 3"].split()[0]) for number in (1, 2, 3)]
    assert sum(passed) == 12
    assert min(passed) > 0
    worst = [answer for question, answer in found.items() if question.startswith("error of")]
    assert worst == [f"{n} units in the last place" for n in reversed(range(12))]


def measure(scripts, folder, *names, large=False, limit=2.0):
    case = next(one for one in scripts.cases.gpu_cases() if scripts.gpu.is_large(one) == large)
    options = SimpleNamespace(out=folder, limit=limit, peers=names, rounds=4, seconds=1e-5)
    peers, _, missing = scripts.gpu.start_peers(options)
    clock = scripts.gpu.Clock(5)
    try:
        return [scripts.gpu.measure(case, peers, options, clock) for _ in range(2)], missing
    finally:
        for peer in peers:
            peer.close()


@pytest.mark.parametrize("large", [False, True], ids=["together", "one by one"])
def test_a_peer_that_fails_does_not_keep_others_from_being_measured(scripts, tmp_path, large):
    names = ("hanging", "dying", "out-of-memory", "failing-later", "well")
    start = time.monotonic()
    results, missing = measure(scripts, tmp_path, *names, large=large)
    assert missing == {}
    for found in results:  # and are begun anew for the next case
        assert len(found["rounds"]["well"]) == 4
        assert set(found["rounds"]) == {"well"}
        problems = found["problems"]
        assert problems["hanging"] == "no answer in 2 s; the process was ended"
        assert problems["dying"] == "the process ended, exit code 3"
        assert problems["out-of-memory"] == "MemoryError: out of memory allocating 1 TB"
        assert "in round 2: failing-later: RuntimeError: an illegal" in problems["failing-later"]
    assert "a last word" in (tmp_path / "dying.log").read_text()
    assert "MemoryError" in (tmp_path / "out-of-memory.log").read_text()
    assert time.monotonic() - start < 60


def test_memory_is_given_back_after_a_case(scripts, monkeypatch):
    import worker

    module = SimpleNamespace(
        PEERS={"well": lambda: SimpleNamespace(step=lambda case: print)},
        versions=dict,
        free=lambda: freed.append(1),
    )
    freed = []
    monkeypatch.setattr(worker.importlib, "import_module", lambda name: module)
    one = worker.Worker("well")
    one.answer({"prepare": {"kind": "step", "sizes": [2, 2], "batch": 1}})
    assert one.repeat is print
    one.answer({"forget": 1})
    assert one.repeat is None
    assert len(freed) == 2


def test_a_report_without_ceilings_or_times(scripts, tmp_path):
    case = scripts.cases.gpu_cases()[0]
    found = {"case": vars(case), "floor": None, "rounds": {"gpu-gpubp": [1e-6]}, "problems": {}}
    result = {
        "command": "c",
        "device": "A GPU",
        "notes": [],
        "ceilings": {},
        "cases": {case.name: found},
        "ceilings_missing": {"copy": "OutOfMemoryError: x"},
        "left_out": [],
        "versions": {},
        "missing": {},
    }
    text = scripts.gpu_report.write_report(result, tmp_path)
    assert "copying not measured" in text
    assert "- ceiling of copy: OutOfMemoryError: x" in text
    assert json.loads((tmp_path / "a-gpu.json").read_text())["device"] == "A GPU"
    assert scripts.gpu.floor(case, {}) is None
