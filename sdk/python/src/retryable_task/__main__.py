"""``python -m retryable_task module:function [args]``"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import sys
from typing import Any, Callable, List, NoReturn

from ._report import exit_code
from ._session import Session

USAGE = """\
usage: python -m retryable_task MODULE:FUNCTION [ARGUMENT...]

Runs the function with the arguments as strings, and writes its end into the termination report. A function without
parameters finds them in sys.argv. Example: python -m retryable_task shop.orders:load 2026-11-22
"""


class UsageError(Exception):
    """The command line names no function that can be called so."""


def main(argv: List[str]) -> NoReturn:
    """Runs the function that the command line names, and ends the process as Python does."""
    if argv[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        sys.exit(0)
    try:
        with Session() as session:
            sys.argv = argv
            session.succeed(_run(_find(argv[0] if argv else ""), argv))
    except SystemExit:
        raise
    except UsageError as error:
        print(f"retryable_task: {error}\n\n{USAGE}", end="", file=sys.stderr, flush=True)
        sys.exit(2)
    except BaseException as error:
        _show(error)
        sys.exit(exit_code(error))
    sys.exit(0)


def _find(target: str) -> Callable[..., Any]:
    name, colon, path = target.partition(":")
    if target.startswith("-"):
        raise UsageError(f"unknown option {target}")
    if name.endswith(".py"):
        module = name[: -len(".py")].replace("/", ".")
        raise UsageError(f"{target}: give the module's name, not its file: {module}:{path or 'main'}")
    if not (name and colon and path):
        raise UsageError(f"{target or 'no function'}: give MODULE:FUNCTION, such as {name or 'module'}:{path or 'main'}")
    found = functools.reduce(getattr, path.split("."), importlib.import_module(name))
    if not callable(found):
        raise UsageError(f"{target} is no function: {type(found).__name__}")
    return found


def _run(function: Callable[..., Any], argv: List[str]) -> Any:
    value = function(*_arguments(function, argv))
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        raise TypeError(f"{argv[0]} is a generator, of which nothing has run: let it return, not yield")
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def _arguments(function: Callable[..., Any], argv: List[str]) -> List[str]:
    """The arguments of a command line; none where the function reads ``sys.argv`` itself."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some of C have none
        return argv[1:]
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    # The commands of click and typer take anything, and read sys.argv when they are given nothing.
    is_command = not inspect.isroutine(function) and kinds <= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    if not kinds or is_command:
        return []
    try:
        signature.bind(*argv[1:])
    except TypeError as error:
        raise UsageError(f"{argv[0]}{signature} was given {len(argv) - 1} arguments: {error}") from None
    return argv[1:]


def _show(error: BaseException) -> None:
    """Prints the traceback from the function on, by the program's own hook if it has one."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)


if __name__ == "__main__":
    main(sys.argv[1:])
