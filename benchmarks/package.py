"""gpubp for processes that start beside a checkout in which nothing is installed."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shutil
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which `import gpubp` finds all of the package.

    An installed gpubp is left as it is. Where there is none, the checkout's is copied into the
    folder: in a checkout the kernels lie beside the package, and so a path to it is not enough.
    """
    found = dict(os.environ)
    outside = [place for place in sys.path if place and Path(place).resolve() != CHECKOUT]
    installed = importlib.machinery.PathFinder.find_spec("gpubp", outside)
    if installed is not None or _is_editable():
        return found
    package = folder / "package"
    shutil.rmtree(package, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "gpubp", package / "gpubp", ignore=ignored)
    shutil.copytree(CHECKOUT / "kernels", package / "gpubp" / "kernels", ignore=ignored)
    paths = [str(package), *filter(None, found.get("PYTHONPATH", "").split(os.pathsep))]
    others = [path for path in paths if Path(path).resolve() != CHECKOUT]
    return found | {"PYTHONPATH": os.pathsep.join(others)}


def _is_editable() -> bool:
    """Return whether an editable install finds the kernels too."""
    try:
        return importlib.util.find_spec("gpubp.kernels") is not None
    except ModuleNotFoundError:
        return False
