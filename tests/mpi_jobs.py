"""What the tests of real processes share."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time

import pytest

from gpubp.distributed import launching
from gpubp.errors import MissingExtraError

TIMEOUT = 60  # of a whole job, seconds
AT_MOST = 15  # until a job that fails has ended


def _lacks():
    """Return why there is no MPI to test with; "" if there is one."""
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed: `nox -s mpi` installs it"
    try:
        launching.find_launcher()
    except MissingExtraError as error:
        return str(error)
    return ""


_required = os.environ.get("GPUBP_REQUIRE_MPI") == "1"
pytestmark = pytest.mark.skipif(not _required and bool(_lacks()), reason=_lacks() or "none")


@pytest.fixture(autouse=True)
def nothing_left(tmp_path):
    """Look for shared memory and processes that a test, not one beside it, leaves behind."""
    before = launching._segments()
    yield
    for _ in range(50):
        used = launching._mapped()
        left = {path for path in launching._segments() - before if str(path) not in used}
        alive = processes_of(tmp_path)
        if not left and not alive:
            return
        time.sleep(0.1)
    assert not left
    assert not alive


def processes_of(folder):
    """Return the numbers of the processes that run a script of a test's own folder."""
    words = ["pgrep", "-f", f"{folder}/script.py"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()


def finished(words, environment=None):
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, timeout=TIMEOUT, env=environment, check=False)
    done.text = (done.stdout + done.stderr).decode(errors="replace")
    done.seconds = time.monotonic() - start
    return done
