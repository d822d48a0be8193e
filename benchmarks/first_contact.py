"""The first hours on a GPU, in three parts that each end in less than 10 minutes.

    python benchmarks/first_contact.py tests --out FOLDER    # what could go wrong, worst first
    python benchmarks/first_contact.py kernels --out FOLDER  # every kernel against float64
    python benchmarks/first_contact.py speed --out FOLDER    # questions, then other libraries

Needs Python, NumPy, CuPy and pytest, and no network; gpubp is the installed one, or else this
checkout's, without installing it. Everything runs in processes of its own with time limits, so
that what hangs or dies keeps nothing else from its turn. After each one FOLDER/<part>.md and
<part>.json say what is known so far; what was printed is in FOLDER/logs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limited import Ended, Program
from package import CHECKOUT, environment

HERE = Path(__file__).parent
TESTS = CHECKOUT / "tests"
PROCESSES = 8  # that share the tests of kernels
SANITIZER = "compute-sanitizer"


@dataclass(frozen=True)
class Check:
    """Tests that are run together, alone on the device.

    Attributes
    ----------
    question : str
        What they answer.
    tests : tuple of str
        Places below tests/, as pytest takes them.
    advice : str
        What to try when they fail.
    limit : float
        Seconds.
    """

    question: str
    tests: tuple[str, ...]
    advice: str
    limit: float = 90
    sanitized: bool = False


GPU = "backends/test_gpu.py"
CHECKS = (
    Check(
        "does a launch, a copy and a product work",
        ("backends/test_backends.py",),
        "run `gpubp doctor`; compare driver, CuPy and CUDA libraries",
    ),
    Check(
        "does a captured cublasLtMatmul replay",
        (f"{GPU}::test_a_captured_product_replays",),
        "train with GPUBP_TUNING=off; look whether cuBLAS allocates while capturing",
    ),
    Check(
        "is work recorded and replayed",
        ("backends/test_recorder.py",),
        "look at CuPy's Stream.begin_capture and end_capture",
    ),
    Check(
        "do replayed steps equal steps as they stand",
        (f"{GPU}::test_replayed_steps_equal_steps_that_are_not_recorded",),
        "a recording may use memory that was given back: run with compute-sanitizer",
    ),
    Check(
        "do 100 steps equal the CPU's",
        (f"{GPU}::test_100_steps_on_the_gpu_equal_those_on_the_cpu",),
        "run part `kernels`; if it passes, compare one step with Network.trace",
    ),
    Check(
        "does a step allocate nothing",
        (f"{GPU}::test_a_step_is_recorded_allocates_nothing_and_is_quick_to_ask_for",),
        "look which operation of a step asks the pool for memory",
    ),
    Check(
        "do networks on several streams keep apart",
        (f"{GPU}::test_networks_on_several_streams_do_not_disturb_each_other",),
        "look for memory that two networks share",
    ),
    Check(
        "do networks in lockstep learn what each learns alone",
        (f"{GPU}::test_networks_in_lockstep_learn_what_each_learns_alone",),
        "compare one network's step with Network.trace; see gpubp/backends/gpu/joining.py",
    ),
    Check(
        "do steps in one launch learn what recorded steps learn",
        (f"{GPU}::test_steps_in_one_launch_learn_what_recorded_steps_learn",),
        "train with GPUBP_TUNING=off, which records; see gpubp/backends/gpu/persistent.py",
    ),
    Check(
        "are precisions as exact as they say",
        (f"{GPU}::test_a_precision_is_as_exact_as_it_says",),
        "look which epilogue was chosen: GPUBP_TUNING=off takes none",
    ),
    Check(
        "do data on the host train as data on the device",
        (f"{GPU}::test_data_on_the_host_train_as_data_on_the_device", "data/test_feeds.py"),
        "look at the events of DeviceSlots",
    ),
    Check(
        "is memory used within its bounds",
        (
            f"{GPU}::test_a_captured_product_replays",
            "backends/test_backends.py::test_no_rows_give_no_error",
            "backends/test_kernels.py::test_backward_sums_the_bias_gradient",
        ),
        "the first line of the log that begins with ========= Invalid names the kernel",
        limit=150,
        sanitized=True,
    ),
    Check("does training work", ("training",), "look at the first test that failed", 120),
    Check("do networks work", ("nn", "inspection"), "look at the first test that failed", 150),
)
KERNEL_TESTS = (
    "backends/test_kernels.py",
    "backends/test_kernel_losses.py",
    "backends/test_kernel_updates.py",
    "nn/test_gradients.py",
)
PROBES = {
    "replay": "does a captured cublasLtMatmul replay",
    "epilogues": "which epilogues pay, by dtype: microseconds",
    "node": "microseconds of a node",
    "branch": "gain of the second stream, a factor",
    "launch": "microseconds of a step of 784-128-10, recorded and in one launch",
    "lockstep": "time of a step of 64 networks by that of one, at most 4",
}
PROBE_SIZE = 512  # rows and columns of the matrices
PROBE_LIMIT = 60.0
PEER_LIMIT = 90.0


class Report:
    """What is known, written anew whenever there is more."""

    def __init__(self, part: str, folder: Path, minutes: float) -> None:
        self._part, self._folder = part, folder
        self._end = time.monotonic() + 60 * minutes
        self.rows: list[dict[str, Any]] = []
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.write()

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self._end - time.monotonic()

    def add(self, question: str, answer: str, advice: str = "", **more: Any) -> None:
        """Add an answer; advice says that it is a bad one, and what to try."""
        self.rows.append({"question": question, "answer": answer, "advice": advice, **more})
        print(f"{question}: {answer}", flush=True)
        self.write()

    def write(self) -> None:
        """Write Markdown and JSON, each aside and then renamed."""
        advice = [f"- {row['question']}: {row['advice']}" for row in self.rows if row["advice"]]
        lines = [f"# First contact: {self._part}", ""]
        lines += [f"- {row['question']}: **{row['answer']}**" for row in self.rows]
        lines += ["", "## What to try next", "", *(advice or ["Nothing: no answer was a bad one."])]
        texts = {"json": json.dumps(self.rows, indent=1), "md": "\n".join(lines)}
        for ending, text in texts.items():
            aside = self._folder / f"{self._part}.{ending}.part"
            aside.write_text(text + "\n", encoding="utf-8")
            aside.replace(self._folder / f"{self._part}.{ending}")

    def end(self) -> int:
        """Say what to try next; return the exit code."""
        bad = [row for row in self.rows if row["advice"]]
        print("what to try next:" if bad else "no answer was a bad one")
        for row in bad:
            print(f"- {row['question']}: {row['advice']}")
        return 1 if bad else 0


def pytest_command(tests: Sequence[str], *options: str) -> list[str]:
    """Return the command that runs tests on the real GPU alone."""
    settings = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "-c", str(CHECKOUT / "pyproject.toml")]
    places = [str(TESTS / place) for place in tests]
    return [sys.executable, "-m", "pytest", *settings, *options, *places]


def test_environment(found: dict[str, str]) -> dict[str, str]:
    """Return the environment of tests: only the real GPU, which must be there.

    The folder that a process starts in is not searched: a checkout there has no kernels.
    """
    own = {"GPUBP_REQUIRE_GPU": "1", "GPUBP_TEST_BACKEND": "gpu", "PYTHONSAFEPATH": "1"}
    paths = [found.get("PYTHONPATH", ""), str(HERE)]
    return found | own | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def verdict(ended: Ended) -> str:
    """Return how tests went, in a few words; "" where they passed."""
    if ended.how == "hung":
        return f"no end after {ended.seconds:.0f} s"
    if ended.how == "died":
        return f"the process died of signal {-ended.code}"
    if ended.code == 5:
        return "there were no such tests"
    return "" if ended.code == 0 else f"failed: {summary(ended.said)}"


def summary(said: str) -> str:
    """Return the last line that a program printed."""
    lines = [line for line in said.splitlines() if line.strip()]
    missing = re.findall(r"No module named '[\w.]+'", said)
    last = lines[-1].strip("= ")[:160] if lines else "it said nothing"
    return f"{last} ({missing[0]})" if missing else last


def run_tests(report: Report, found: dict[str, str], checks: Sequence[Check] = CHECKS) -> None:
    """Run the tests that only a real GPU can pass, the worst risks first, each alone."""
    for number, check in enumerate(checks):
        if report.left < 5:
            report.add(check.question, "no time was left", "run it again with more --minutes")
            continue
        command = pytest_command(check.tests)
        if check.sanitized:
            tool = shutil.which(SANITIZER)
            if tool is None:
                report.add(check.question, f"not asked: there is no {SANITIZER} here")
                continue
            command = [tool, "--error-exitcode", "9", *command]
        log = report.logs / f"tests-{number:02}.log"
        program = Program(command, log, test_environment(found), report.logs)
        ended = program.wait(min(check.limit, report.left))
        problem = verdict(ended)
        answer = problem or f"yes, {summary(ended.said)}"
        report.add(check.question, answer, f"{check.advice}; {log}" if problem else "")


def run_kernels(report: Report, found: dict[str, str], processes: int = PROCESSES) -> None:
    """Compare every kernel with float64, the tests shared by several processes."""
    programs = {}
    for number in range(processes):
        own = {
            "GPUBP_SHARE": f"{number}/{processes}",
            "GPUBP_ERRORS": str(report.logs / f"kernels-{number}.json"),
        }
        log = report.logs / f"kernels-{number}.log"
        command = pytest_command(KERNEL_TESTS, "-p", "pytest_share")
        programs[log] = Program(command, log, test_environment(found) | own, report.logs)
    errors: dict[str, float] = {}
    for number, (log, program) in enumerate(programs.items()):
        ended = program.wait(max(report.left, 1))
        problem = verdict(ended)
        advice = f"look at the first kernel that failed in {log}" if problem else ""
        report.add(f"share {number + 1} of {processes}", problem or summary(ended.said), advice)
        measured = report.logs / f"kernels-{number}.json"
        if measured.exists():
            errors |= json.loads(measured.read_text(encoding="utf-8"))
    for test, error in sorted(errors.items(), key=lambda item: -item[1])[:20]:
        report.add(f"error of {test}", f"{error:.3g} units in the last place")


def run_speed(
    report: Report, found: dict[str, str], options: Sequence[str] = (), size: int = PROBE_SIZE
) -> None:
    """Answer questions by small measurements, then measure beside other libraries."""
    for name, question in PROBES.items():
        log = report.logs / f"probe-{name}.log"
        command = [sys.executable, str(HERE / "gpu_probes.py"), name, str(size)]
        ended = Program(command, log, found, report.logs).wait(
            min(PROBE_LIMIT, max(report.left, 1))
        )
        problem = verdict(ended)
        if problem:
            report.add(question, problem, f"read {log}")
            continue
        answer = json.loads(ended.said.splitlines()[-1])
        report.add(question, str(answer.pop("answer")), "", **answer)
    left = max(report.left - 20, 1)
    folder = report.logs.parent
    command = [sys.executable, str(HERE / "gpu.py"), "--out", str(folder)]
    command += ["--minutes", f"{left / 60:.3f}", "--limit", f"{PEER_LIMIT:g}", *options]
    log = report.logs / "gpu.log"
    ended = Program(command, log, found, report.logs).wait(left + 15)
    problem = verdict(ended)
    answer = problem or f"in {folder}, one Markdown and one JSON file"
    report.add("the table of speeds", answer, f"read {log}" if problem else "")


PARTS: dict[str, Callable[[Report, dict[str, str]], None]] = {
    "tests": run_tests,
    "kernels": run_kernels,
    "speed": run_speed,
}


def main() -> int:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True, help="folder for results and logs")
    parser.add_argument("--minutes", type=float, default=9.0, help="in all")
    options = parser.parse_args()
    folder = options.out.resolve()
    report = Report(options.part, folder, options.minutes)
    PARTS[options.part](report, environment(folder))
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
