"""Runs programs as a container does: a process, its exit code, its termination log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import pytest

SOURCE = Path(__file__).parent.parent / "src"


class End(NamedTuple):
    """How a process ended."""

    code: int
    #: The termination report; None where the file is empty.
    report: Optional[Dict[str, Any]]
    err: str
    out: str


class Program:
    """A module `job` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "termination-log"
        self.env: Dict[str, str] = {}

    def start(self, *command: str) -> "subprocess.Popen[str]":
        self.log.write_bytes(b"")
        env = {**os.environ, "PYTHONPATH": str(SOURCE), "TERMINATION_LOG": str(self.log), **self.env}
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait(self, process: "subprocess.Popen[str]") -> End:
        out, err = process.communicate(timeout=60)
        data = self.log.read_bytes()
        assert len(data) <= 4096, "the kubelet keeps the last 4,096 bytes"
        return End(process.returncode, json.loads(data) if data else None, err, out)

    def write(self, source: str) -> None:
        (self.folder / "job.py").write_text(textwrap.dedent(source))

    def run(self, source: str, *args: str, target: str = "job:main") -> End:
        """Runs `main` of the source with `python -m retryable_task`."""
        self.write(source)
        return self.wait(self.start("-m", "retryable_task", target, *args))

    def script(self, source: str) -> End:
        """Runs the source by itself."""
        self.write(source)
        return self.wait(self.start("job.py"))

    def stopped(self, source: str, command: List[str]) -> End:
        """Runs the source, and sends SIGTERM when it has printed a line."""
        self.write(source)
        process = self.start(*command)
        assert process.stdout is not None
        assert process.stdout.readline(), process.communicate()[1]
        process.send_signal(signal.SIGTERM)
        return self.wait(process)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)
