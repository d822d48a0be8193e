"""The command `gpubp`, also `python -m gpubp`."""

from __future__ import annotations

import importlib.util
import os
import sys

from gpubp.errors import GpubpError


def main() -> None:
    """Run the command; bad input ends with one line on standard error and exit code 2."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        _fail(f"the command needs {' and '.join(missing)}: pip install 'gpubp[cli]'")
    from gpubp.cli import app

    try:
        app()
        sys.stdout.flush()
    except GpubpError as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader has seen enough: `gpubp predict ... | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        print("gpubp: interrupted", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"gpubp: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
