"""The command `gpubp`, also `python -m gpubp`."""

from __future__ import annotations

import importlib.util
import os
import sys

from gpubp.blas_kernels import use_best_kernels
from gpubp.errors import GpubpError


def main() -> None:
    """Run the command; bad input ends with one line on standard error and exit code 2."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        _fail(f"the command needs {' and '.join(missing)}: pip install 'gpubp[cli]'")
    use_best_kernels()  # before the next line imports NumPy
    from gpubp.cli import app

    try:
        try:
            app()  # leaves by SystemExit
        finally:
            sys.stdout.flush()
    except GpubpError as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader has seen enough: `gpubp predict ... | head -1`
        _discard_output()
        sys.exit(0)
    except OSError as error:
        _discard_output()
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        print("gpubp: interrupted", file=sys.stderr)
        sys.exit(130)


def _discard_output() -> None:
    """Let Python flush what it could not write into nothing when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> None:
    print(f"gpubp: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
