"""How far the memory of this process grew at most, where Linux tells it."""

from __future__ import annotations

from pathlib import Path

PROCESS = Path("/proc/self")
_begun: dict[str, int] = {}  # the sizes when the peak was forgotten


def forget_peak() -> None:
    """Measure growth from now on."""
    try:
        (PROCESS / "clear_refs").write_text("5", encoding="ascii")
        _begun.update(_sizes())
    except OSError:
        _begun.clear()


def grown_memory() -> int | None:
    """Return by how many bytes it grew at most, without pages of files; None where none says."""
    if not _begun:
        return None
    now = _sizes()
    of_files = now["RssFile"] - _begun["RssFile"]
    return max(0, now["VmHWM"] - _begun["VmRSS"] - of_files)


def _sizes() -> dict[str, int]:
    lines = (PROCESS / "status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: 1024 * int(fields[name].split()[0]) for name in ("VmHWM", "VmRSS", "RssFile")}
