"""The first quarter of an hour on a GPU, the most worth knowing first.

    python benchmarks/first_contact.py tests questions kernels --out FOLDER  # 7.5 minutes at most
    python benchmarks/first_contact.py speed --out FOLDER                    # 5.5
    python benchmarks/first_contact.py rest --out FOLDER                     # 6, where there are

`tests` are what could go wrong, worst first; `questions` small measurements; `kernels` compares
every kernel with float64; `speed` measures beside other libraries; `rest` is all other tests. Parts
named together share their time: what one leaves over the next one has. `--minutes` says how much.

Needs Python, NumPy, CuPy and pytest, and no network; gpubp is the installed one, or else this
checkout's, without installing it. Everything runs in processes of its own with time limits, so
that what hangs or dies keeps nothing else from its turn. After each one FOLDER/<part>.md and
<part>.json say what is known so far; what was printed is in FOLDER/logs. Where few files can be
taken home, end the command with `; tar czf first.tgz FOLDER`.
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
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from contact_checks import CHECKS, KERNEL_TESTS, REST, Check
from limited import Ended, Program
from package import CHECKOUT, environment

HERE = Path(__file__).parent
TESTS = CHECKOUT / "tests"
PROCESSES = max(2, min(16, os.cpu_count() or 1))  # that share many tests: most compile kernels
AT_ONCE = 4  # checks, each of which computes little: what fails in one process stays there
SANITIZER = "compute-sanitizer"
NO_TESTS = 5  # pytest's exit code


PROBES = {
    "replay": "does a captured cublasLtMatmul replay",
    "epilogues": "which epilogues pay, by dtype: microseconds",
    "node": "microseconds of a node",
    "branch": "gain of the second stream, a factor",
    "choices": "which ways a step of 784-512-512-10 takes: microseconds of each",
    "tiles": "microseconds of a step, by the library's products and by tiles",
    "lockstep": "time of a step of 64 networks by that of one, at most 4",
}
PROBE_SIZE = 512  # rows and columns of the matrices
PROBE_LIMIT = 45.0
PEER_LIMIT = 90.0


class Report:
    """What is known, written anew whenever there is more."""

    def __init__(self, part: str, folder: Path, minutes: float) -> None:
        self.part, self._folder = part, folder
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
        lines = [f"# First contact: {self.part}", ""]
        lines += [f"- {row['question']}: **{row['answer']}**" for row in self.rows]
        lines += ["", "## What to try next", "", *(advice or ["Nothing: no answer was a bad one."])]
        texts = {"json": json.dumps(self.rows, indent=1), "md": "\n".join(lines)}
        for ending, text in texts.items():
            aside = self._folder / f"{self.part}.{ending}.part"
            aside.write_text(text + "\n", encoding="utf-8")
            aside.replace(self._folder / f"{self.part}.{ending}")

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
    # a module that is missing says so, and what another library warns of is no failure
    settings += ["--continue-on-collection-errors", "-W", "default"]
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
    if ended.code == NO_TESTS:
        return "there were no such tests"
    return "" if ended.code == 0 else f"failed: {summary(ended.said)}"


def summary(said: str) -> str:
    """Return the last line that a program printed."""
    lines = [line for line in said.splitlines() if line.strip()]
    missing = re.findall(r"No module named '[\w.]+'", said)
    last = lines[-1].strip("= ")[:160] if lines else "it said nothing"
    return f"{last} ({missing[0]})" if missing else last


Running = tuple[Check, list[tuple[Path, Program]]]  # each program with its log


def run_tests(report: Report, found: dict[str, str], checks: Sequence[Check] = CHECKS) -> None:
    """Run the tests that only a real GPU can pass, the worst risks first, some at a time."""
    running: list[Running] = []
    for number, check in enumerate(checks):
        if running and (len(running) == AT_ONCE or check.shared):
            conclude(report, running)
        if report.left < 5:
            report.add(check.question, "no time was left", "run it again with more --minutes")
        elif check.sanitized and shutil.which(SANITIZER) is None:
            report.add(check.question, f"not asked: there is no {SANITIZER} here")
        else:
            running.append((check, begin(report, found, check, f"{report.part}-{number:02}")))
    while running:
        conclude(report, running)


def begin(
    report: Report, found: dict[str, str], check: Check, name: str
) -> list[tuple[Path, Program]]:
    """Start what answers a check, in one process or several; return each with its log."""
    command, started = pytest_command(check.tests), []
    if check.sanitized:
        command = [SANITIZER, "--error-exitcode", "9", *command]
    count = PROCESSES if check.shared else 1
    for number in range(count):
        log = report.logs / (f"{name}-{number:02}.log" if check.shared else f"{name}.log")
        own = {"GPUBP_SHARE": f"{number}/{count}"} if check.shared else {}
        plugin = ["-p", "pytest_share"] if check.shared else []
        environment = test_environment(found) | own
        started.append((log, Program([*command, *plugin], log, environment, report.logs)))
    return started


def conclude(report: Report, running: list[Running]) -> None:
    """Wait until one of these checks has ended, or its time is over, and say how it went."""
    while not any(is_due(report, one) for one in running):
        time.sleep(0.02)
    place = next(place for place, one in enumerate(running) if is_due(report, one))
    check, started = running.pop(place)
    problems, said = [], ""
    for log, program in started:
        ended = program.wait(0)
        problem, said = verdict(ended), said or summary(ended.said)
        if problem and not (check.shared and ended.code == NO_TESTS):
            problems.append((problem, log))
    if not problems:
        report.add(check.question, f"yes, {said}")
    else:
        problem, log = problems[0]
        report.add(check.question, problem, f"{check.advice}; {log}")


def is_due(report: Report, running: Running) -> bool:
    """Return whether nothing more is to be waited for."""
    check, started = running
    programs = [program for _, program in started]
    over = max(program.seconds for program in programs) >= check.limit or report.left <= 0
    return over or all(program.has_ended for program in programs)


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


def run_questions(report: Report, found: dict[str, str], size: int = PROBE_SIZE) -> None:
    """Answer questions by small measurements, one at a time."""
    for name, question in PROBES.items():
        if report.left < 5:
            report.add(question, "no time was left", "run it again with more --minutes")
            continue
        log = report.logs / f"probe-{name}.log"
        command = [sys.executable, str(HERE / "gpu_probes.py"), name, str(size)]
        ended = Program(command, log, found, report.logs).wait(min(PROBE_LIMIT, report.left))
        problem = verdict(ended)
        if problem:
            report.add(question, problem, f"read {log}")
            continue
        try:  # all of the last line, which may be long
            answer = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
            report.add(question, str(answer.pop("answer")), "", **answer)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            report.add(question, f"its last line is no answer: {error}", f"read {log}")


def run_speed(report: Report, found: dict[str, str], options: Sequence[str] = ()) -> None:
    """Measure beside other libraries."""
    left = max(report.left - 20, 1)
    folder = report.logs.parent
    command = [sys.executable, str(HERE / "gpu.py"), "--out", str(folder)]
    command += ["--minutes", f"{left / 60:.3f}", "--limit", f"{PEER_LIMIT:g}", *options]
    log = report.logs / "gpu.log"
    ended = Program(command, log, found, report.logs).wait(left + 15)
    problem = verdict(ended)
    answer = problem or f"in {folder}, one Markdown and one JSON file"
    report.add("the table of speeds", answer, f"read {log}" if problem else "")


def run_rest(report: Report, found: dict[str, str]) -> None:
    """Run all other tests for a real GPU."""
    run_tests(report, found, REST)


class Part(NamedTuple):
    """A part, and its minutes: those of the first four are less than a quarter of an hour."""

    run: Callable[[Report, dict[str, str]], None]
    minutes: float


PARTS = {
    "tests": Part(run_tests, 3.5),
    "questions": Part(run_questions, 2.0),
    "kernels": Part(run_kernels, 2.0),
    "speed": Part(run_speed, 5.5),
    "rest": Part(run_rest, 6.0),
}


def deadlines(parts: Sequence[str], minutes: float | None) -> list[float]:
    """Return when each part ends at the latest, in minutes from now."""
    own = [PARTS[part].minutes for part in parts]
    share = 1.0 if minutes is None else minutes / sum(own)
    return [share * each for each in accumulate(own)]


def main() -> int:
    """Run parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS, help="one after the other")
    parser.add_argument("--out", type=Path, required=True, help="folder for results and logs")
    parser.add_argument("--minutes", type=float, help="in all")
    options = parser.parse_args()
    folder, start = options.out.resolve(), time.monotonic()
    found, codes = None, []
    for part, end in zip(options.parts, deadlines(options.parts, options.minutes), strict=True):
        report = Report(part, folder, end - (time.monotonic() - start) / 60)
        found = environment(folder) if found is None else found
        PARTS[part].run(report, found)
        codes.append(report.end())
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
