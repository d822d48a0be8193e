"""The command `gpubp`, also `python -m gpubp`."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from typing import Any, NoReturn

from gpubp.cli.openblas import use_best_kernels
from gpubp.errors import GpubpError, printable

_presses: list[int] = []  # of Ctrl-C


def main() -> None:
    """Run the command; bad input ends with one line on standard error and exit code 2."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else Ctrl-C is ignored
        signal.signal(signal.SIGINT, _press)
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()
    except GpubpError as error:
        _fail(str(error), error.everywhere)
    except BrokenPipeError:  # the reader has seen enough: `gpubp predict ... | head -1`
        _discard_output()
        sys.exit(0)
    except OSError as error:
        _discard_output()
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        _leave_interrupted()
    except Exception:
        if not _presses:
            raise
        _leave_interrupted()  # a library that Ctrl-C met at its import may raise anything


def _press(number: int, frame: Any) -> NoReturn:
    """Raise KeyboardInterrupt as Python does, and note that Ctrl-C was pressed."""
    _presses.append(number)
    raise KeyboardInterrupt


def _leave_interrupted() -> NoReturn:
    print("gpubp: interrupted before it was done; no file is left half written", file=sys.stderr)
    sys.exit(130)


def _run() -> None:
    """Import the command, which takes a while that Ctrl-C may end, and run it."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        _fail(f"the command needs {' and '.join(missing)}: pip install 'gpubp[cli]'")
    use_best_kernels()  # before the next line imports NumPy
    from gpubp.cli.app import app

    app()  # leaves by SystemExit


def _discard_output() -> None:
    """Let Python flush what it could not write into nothing when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, everywhere: bool = False) -> None:
    """Print an error and exit; of processes that all meet it, rank 0 prints before any exits."""
    processes = None
    if "gpubp.distributed.startup" in sys.modules:
        processes = sys.modules["gpubp.distributed.startup"].current()
    if processes is None or processes.is_root or not everywhere:
        rank = f"rank {processes.rank}: " if processes is not None and not everywhere else ""
        print(
            f"gpubp: error: {rank}{printable(' '.join(message.split()))}",
            file=sys.stderr,
            flush=True,
        )
    if processes is not None and everywhere:
        processes.barrier("the end")
    sys.exit(2)


if __name__ == "__main__":
    main()
