"""A peer in a process of its own, and how it is asked; see worker.py."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cases import Case

WARM_UP = 3


class Peer:
    """A worker process; `name` is the peer, with what follows "@" telling its settings apart."""

    def __init__(self, name: str, python: str, environment: dict[str, str]) -> None:
        self.name = name
        self.peer = name.partition("@")[0]
        self.process = subprocess.Popen(
            [python, str(Path(__file__).parent / "worker.py"), self.peer],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        self.count = 1

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(request), file=self.process.stdin)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"the process ended, exit code {self.process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def prepare(self, case: Case, seconds: float) -> str:
        """Lay out a case, warm up, and find how often to repeat it; return what went wrong."""
        answer = self.ask(prepare=asdict(case))
        for _ in range(WARM_UP if "error" not in answer else 0):
            answer = self.ask(run=1)
            if "error" in answer:
                break
            self.count = max(1, round(seconds * answer["done"] / answer["seconds"]))
        return str(answer.get("error", ""))

    def seconds(self) -> float:
        """Do one round and return the seconds a repetition."""
        answer = self.ask(run=self.count)
        if "error" in answer:
            raise SystemExit(f"{self.name}: {answer['error']}")
        return float(answer["seconds"] / answer["done"])

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
