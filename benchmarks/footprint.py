"""What a library costs before it trains: time to import, bytes on disk, memory in use."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

IMPORTS = {
    "gpubp": "from gpubp import Network",
    "torch": "import torch",
    "jax": "import jax",
    "sklearn": "import sklearn.neural_network",
}
DISTRIBUTIONS = {"gpubp": "gpubp", "torch": "torch", "jax": "jax", "sklearn": "scikit-learn"}
REPEATS = 7

_SIZE = """
import importlib.metadata as m, re, sys
seen, todo = set(), sys.argv[1:]
while todo:
    name = re.sub("[-_.]+", "-", todo.pop()).lower()
    if name in seen: continue
    try: found = m.distribution(name)
    except m.PackageNotFoundError: continue
    seen.add(name)
    for line in found.requires or []:
        if "extra ==" not in line: todo.append(re.match("[A-Za-z0-9._-]+", line)[0])
total = 0
for name in seen:
    for file in m.files(name) or []:
        path = file.locate()
        if path.is_file(): total += path.stat().st_size
if any("editable" in str(f) for f in m.files(sys.argv[1]) or []):
    import pathlib, gpubp
    root = pathlib.Path(gpubp.__file__).parent
    total += sum(p.stat().st_size for folder in (root, root.parent / "kernels")
                 for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
print(total)
"""
_MEMORY = """
import json, resource, sys
sys.path.insert(0, sys.argv[2])
from cases import Case
import importlib
from worker import MODULES
peer = importlib.import_module("peers." + MODULES[sys.argv[1]]).PEERS[sys.argv[1]]()
def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
case = Case("step", (784, 512, 512, 10), 1024)
small = Case("step", (784, 16, 10), 1024)
peer.step(small)(2)
before = used()
peer.step(case)(20)
parameters = 4 * sum((a + 1) * b for a, b in zip(case.sizes, case.sizes[1:]))
print(json.dumps([used() - before, parameters]))
"""


def footprint(peer_python: str) -> dict[str, Any]:
    """Return import seconds, installed bytes and bytes used by training, for each library."""
    result: dict[str, Any] = {}
    for name, statement in IMPORTS.items():
        python = sys.executable if name == "gpubp" else peer_python
        here = __file__.rpartition("/")[0] or "."
        size = _output(python, _SIZE, DISTRIBUTIONS[name])
        memory = _output(python, _MEMORY, name, here)
        result[name] = {
            "import_seconds": _import_seconds(python, statement),
            "installed_bytes": int(size) if size else None,
            "memory_bytes": json.loads(memory)[0] if memory else None,
            "parameter_bytes": json.loads(memory)[1] if memory else None,
        }
    return result


def installed(python: str, *distributions: str) -> int | None:
    """Return the bytes on disk of distributions with all they need; None where one lacks."""
    size = _output(python, _SIZE, *distributions)
    return int(size) if size else None


def _import_seconds(python: str, statement: str) -> float | None:
    differences = []
    for _ in range(REPEATS):
        seconds = []
        for code in ("pass", statement):
            start = time.perf_counter()
            done = subprocess.run([python, "-c", code], capture_output=True, check=False)
            seconds.append(time.perf_counter() - start)
            if done.returncode:
                return None
        differences.append(seconds[1] - seconds[0])
    return statistics.median(differences)


def _output(python: str, code: str, *arguments: str) -> str:
    """Return what the code prints; "" when it fails."""
    command = [str(Path(python).absolute()) if "/" in python else python, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    lines = done.stdout.strip().splitlines()
    return lines[-1] if done.returncode == 0 and lines else ""
