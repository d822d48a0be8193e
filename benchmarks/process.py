"""A peer in a process of its own, and how it is asked; see worker.py."""

from __future__ import annotations

import json
import random
import select
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from cases import Case

WARM_UP = 3
LONG = 1.0  # seconds of a repetition from which on it needs no other to warm up
Who = TypeVar("Who")


def turns(rounds: int, peers: Sequence[Who]) -> Iterator[tuple[int, Who]]:
    """Yield the number of a round and whose turn it is, in an order drawn anew each round."""
    for number in range(rounds):
        for peer in random.Random(number).sample(peers, len(peers)):
            yield number, peer


class PeerError(SystemExit):
    """A peer that was prepared has failed; ends a script that does not expect it."""


class Peer:
    """A worker process; `name` is the peer, with what follows "@" telling its settings apart.

    `memory` tells by how many bytes the process has grown at most since a case was laid out.

    Parameters
    ----------
    log : Path, optional
        File that what the process says on standard error is added to; without it that is lost.
    limit : float, optional
        Seconds after which a process that has not answered is ended.
    """

    def __init__(
        self,
        name: str,
        python: str,
        environment: dict[str, str],
        log: Path | None = None,
        limit: float | None = None,
    ) -> None:
        self.name = name
        self.peer = name.partition("@")[0]
        self.count = 1
        self.memory: int | None = None  # bytes that the last repetition took at most
        self._command = [python, str(Path(__file__).parent / "worker.py"), self.peer]
        self._environment = {**environment}
        self._environment.pop("PYTHONSAFEPATH", None)  # the worker needs what lies beside it
        self._log, self._limit = log, limit
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        said: Any = subprocess.DEVNULL
        if self._log is not None:
            said = self._log.open("a", encoding="utf-8")
        process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            bufsize=1,
        )
        if self._log is not None:
            said.close()  # the process has it
        return process

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer; one that says {"error": ...} where there is none.

        A process that does not answer in time is ended.
        """
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(json.dumps(request), file=process.stdin)
        except BrokenPipeError:
            return {"error": f"the process ended, exit code {process.wait()}"}
        if self._limit and not select.select([process.stdout], [], [], self._limit)[0]:
            self.close()
            return {"error": f"no answer in {self._limit:g} s; the process was ended"}
        line = process.stdout.readline()
        if not line:
            return {"error": f"the process ended, exit code {process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def restart(self) -> None:
        """Begin anew in a new process, where nothing of what went wrong is left."""
        self.close()
        self.process = self._start()

    def prepare(self, case: Case, seconds: float) -> str:
        """Lay out a case, warm up, and find how often to repeat it; return what went wrong."""
        answer = self.ask(prepare=asdict(case))
        for _ in range(WARM_UP if "error" not in answer else 0):
            answer = self.ask(run=1)
            if "error" in answer:
                break
            self.memory = answer.get("memory")
            if answer["seconds"] > LONG:
                self.count = 1
                break
            self.count = max(1, round(seconds * answer["done"] / answer["seconds"]))
        return str(answer.get("error", ""))

    def seconds(self) -> float:
        """Do one round and return the seconds a repetition.

        Raises
        ------
        PeerError
            When the peer fails.
        """
        answer = self.ask(run=self.count)
        if "error" in answer:
            raise PeerError(f"{self.name}: {answer['error']}")
        return float(answer["seconds"] / answer["done"])

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
