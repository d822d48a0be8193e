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
def nothing_left():
    """Look for shared memory and processes that a test leaves behind."""
    before = launching._segments()
    yield
    for _ in range(50):
        left = launching._segments() - before
        alive = subprocess.run(["pgrep", "-f", "script.py"], capture_output=True, text=True)
        if not left and not alive.stdout:
            return
        time.sleep(0.1)
    assert not left
    assert not alive.stdout


def finished(words, environment=None):
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, timeout=TIMEOUT, env=environment, check=False)
    done.text = (done.stdout + done.stderr).decode(errors="replace")
    done.seconds = time.monotonic() - start
    return done
