"""Runs a function and writes the termination report of its end."""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
import threading
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar

from . import _report
from ._errors import Terminated

#: Where the kubelet expects the report; TERMINATION_LOG names another file.
DEFAULT_PATH = "/dev/termination-log"
Function = TypeVar("Function", bound=Callable[..., Any])


class _State:
    """What this process has reported so far."""

    def __init__(self) -> None:
        self.running = threading.Lock()
        self.checkpoint: Optional[str] = None
        self.partial: Optional[dict] = None
        self.written = False
        self.pid = os.getpid()


_state = _State()


class Session:
    """The run of one function. The outermost of a process reports; those within it leave that to it."""

    def __init__(self) -> None:
        self._reports = False
        self._handles_sigterm = False

    def __enter__(self) -> "Session":
        self._reports = _is_main_process() and _state.running.acquire(blocking=False)
        if self._reports:
            self._handles_sigterm = _handle_sigterm()
        return self

    def succeed(self, value: Any) -> None:
        """The function has returned the value."""
        if not self._is_mine():
            return
        self._ignore_sigterm()
        report: _report.Report = {}
        if value is not None:
            report["result"], note = _report.result(value)
            if note:
                _say(note)
        if _state.partial is not None:
            report["partial"] = _state.partial
            # Unlike a whole success, one in part does not clear it: what is left may be run again.
            report["checkpoint"] = _state.checkpoint
        if report or _state.written:
            _write(_report.encode(report) if report else b"")

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if not self._is_mine():
            return
        self._ignore_sigterm()
        if error is not None:
            self._fail(error)
        if self._handles_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _state.checkpoint = _state.partial = None
        _state.written = False
        _state.running.release()

    @staticmethod
    def _fail(error: BaseException) -> None:
        if _report.exit_code(error) == 0:
            return
        report = _report.failure(error)
        if _state.checkpoint is not None:
            report["checkpoint"] = _state.checkpoint
        if report:
            _write(_report.encode(report))

    def _is_mine(self) -> bool:
        """Whether this run reports, and not in a child that was forked during it."""
        return self._reports and os.getpid() == _state.pid

    def _ignore_sigterm(self) -> None:
        """The end is being reported: a stop has nothing left to stop."""
        if self._handles_sigterm:
            signal.signal(signal.SIGTERM, _ignore)


def reported(function: Function) -> Function:
    """Decorates a function, such as one's own ``main``: its end goes into the termination report.

    What it returns is returned, what it raises is raised. Works with ``async`` functions.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            with Session() as session:
                value = await function(*args, **kwargs)
                session.succeed(value)
                return value

        return run_async  # type: ignore[return-value]

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with Session() as session:
            value = function(*args, **kwargs)
            session.succeed(value)
            return value

    return run  # type: ignore[return-value]


def checkpoint(value: Any) -> None:
    """Keeps the value, at most 1 KiB of JSON, for the next attempt: ``attempt().checkpoint``.

    It is written at once, so that it outlives a kill. The last one counts; success clears it. Raises TypeError or
    ValueError where JSON has no such value or it is too long.
    """
    # As a text, which the operator gives back to the letter.
    text = _report.compact(value)
    if _report.size(text) > _report.MAX_VALUE_BYTES:
        raise ValueError(
            f"a checkpoint has at most {_report.MAX_VALUE_BYTES:,} bytes of JSON, this one has {_report.size(text):,}: "
            "store the rest elsewhere, and keep where it is"
        )
    if not _is_main_process():
        raise RuntimeError("checkpoint() belongs into the process that runs the task, not into one that it has started")
    _state.checkpoint = text
    _write(_report.encode({"checkpoint": _state.checkpoint}))
    _state.written = True


def partial(failed: int, total: int) -> None:
    """Says that ``failed`` of ``total`` parts have failed, although the task as a whole succeeds."""
    numbers = [failed, total]
    if any(isinstance(number, bool) or not isinstance(number, int) for number in numbers) or not 0 <= failed <= total:
        raise ValueError(f"partial(failed, total) takes two integers, 0 <= failed <= total: {failed!r}, {total!r}")
    _state.partial = {"failed": failed, "total": total}


def _is_main_process() -> bool:
    """Whether this is no child of the process that runs the task, forked or started by multiprocessing."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    parent = multiprocessing.parent_process() if multiprocessing else None
    return os.getpid() == _state.pid and parent is None


def _handle_sigterm() -> bool:
    """Turns SIGTERM into an exception, so that `finally` runs. As the first process of a container Python would not even
    end without a handler. One of the program's own stays."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _terminate)
    return True


def _terminate(_number: int, _frame: Any) -> None:
    signal.signal(signal.SIGTERM, _ignore)  # once: what cleans up is not to be interrupted
    raise Terminated


def _ignore(_number: int, _frame: Any) -> None:
    """A handler, and not SIG_IGN, which programs that are started would inherit."""


# A child dies of SIGTERM as any process does. The signal is blocked until that is so: Python drops what comes before.
_blocked = threading.local()


def _before_fork() -> None:
    _blocked.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork_in_parent() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _blocked.mask)


def _after_fork_in_child() -> None:
    if signal.getsignal(signal.SIGTERM) in (_terminate, _ignore):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _after_fork_in_parent()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _write(data: bytes) -> None:
    path = os.environ.get("TERMINATION_LOG")
    flags = os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC
    try:
        # The kubelet's file is there in a container. Elsewhere, none is made in /dev.
        file = os.open(path or DEFAULT_PATH, flags | os.O_CREAT if path else flags, 0o644)
        try:
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)
    except FileNotFoundError:
        if path:
            _say(f"there is no folder for TERMINATION_LOG {path}")
    except OSError as error:
        _say(f"the termination report cannot be written: {error}")


def _say(text: str) -> None:
    print(f"retryable_task: {text}", file=sys.stderr, flush=True)
