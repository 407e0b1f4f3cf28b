"""The termination report of an end: values in, bytes out.

The kubelet keeps 4,096 bytes of the termination message, and less where a Pod has more than three containers: its
beginning. Hence the order of the fields: what may be long and may be cut comes last.
"""

from __future__ import annotations

import builtins
import dataclasses
import json
import os
import sysconfig
import traceback
from types import TracebackType
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ._errors import DoNotRetry, RetryAfter, Terminated

#: Bytes that the kubelet keeps of the file.
MAX_BYTES = 4096
#: Bytes of JSON that the operator keeps of a checkpoint and of a result, and that the names of types may take here.
MAX_VALUE_BYTES = 1024
#: Kinds of error that the operator reads, and bytes of each.
MAX_TYPES, MAX_TYPE_BYTES = 16, 128
#: Bytes that a message has at least.
ROOM = 256
#: Exceptions of a chain, or of a group, that the message has.
MAX_LINKS = 5

ORDER = (
    "doNotRetry",
    "retryAfterSeconds",
    "partial",
    "errorType",
    "checkpoint",
    "errorTypes",
    "result",
    "message",
)
Report = Dict[str, Any]

_GROUP = getattr(builtins, "BaseExceptionGroup", None)
_OWN = os.path.dirname(os.path.abspath(__file__))
_LIBRARY = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})


def encode(report: Report) -> bytes:
    """The report as JSON of at most ``MAX_BYTES``, with as much of its message as there is room for."""
    ordered = {key: report[key] for key in ORDER if report.get(key) is not None}
    data = _bytes(ordered)
    if len(data) <= MAX_BYTES:
        return data
    message = ordered.get("message", "")
    for dispensable in ("result", "errorTypes"):
        if len(_bytes({**ordered, "message": ""})) > MAX_BYTES - ROOM:
            ordered.pop(dispensable, None)
    fits, too_long = 0, min(len(message), MAX_BYTES)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        ordered["message"] = message[:middle] + " …"
        fits, too_long = (middle, too_long) if len(_bytes(ordered)) <= MAX_BYTES else (fits, middle)
    ordered["message"] = message[:fits] + " …"
    return _bytes(ordered)


def compact(value: Any) -> str:
    """The value as JSON without spaces. Raises TypeError or ValueError where JSON has no such value."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    # Lone surrogates, as in the name of a file, survive as escapes alone.
    return text if text.isascii() or text.encode("utf-8", "replace").decode() == text else json.dumps(json.loads(text))


def size(text: str) -> int:
    """Bytes that the text takes."""
    return len(text.encode("utf-8", "replace"))


def result(value: Any) -> Tuple[Any, Optional[str]]:
    """What is reported of a returned value, and what is to be said about it. The work is done, so no value is an error."""
    try:
        text, note = compact(value), None
        if size(text) <= MAX_VALUE_BYTES:
            return json.loads(text), None
        note = f"the result has {size(text):,} bytes, and {MAX_VALUE_BYTES:,} are kept: store it elsewhere and return where"
    except Exception as error:  # any __repr__, any recursion
        text, note = _repr(value), f"the result is no JSON ({_text(error) or type(error).__name__}): its repr is reported"
    return _cut(text, MAX_VALUE_BYTES), note


def failure(error: BaseException) -> Report:
    """The report of an exception that nobody caught. Empty where the log says more: a plain exit."""
    if isinstance(error, Terminated):
        return {"message": f"stopped by SIGTERM{_where(error.__traceback__)}"}
    if isinstance(error, SystemExit):
        return {} if error.code is None or isinstance(error.code, int) else {"message": _cut(str(error.code), MAX_BYTES)}
    leaves = list(_leaves(error))
    # A group of one, as a TaskGroup raises it, is that one.
    subject = leaves[0] if len(leaves) == 1 else error
    types = _types(subject, leaves if len(leaves) > 1 else [])
    report: Report = {"errorType": types[0], "errorTypes": types, "message": "\n".join(_lines(subject, leaves))}
    if any(isinstance(leaf, DoNotRetry) for leaf in leaves):
        report["doNotRetry"] = True
    delays = [leaf.seconds for leaf in leaves if isinstance(leaf, RetryAfter) and leaf.seconds is not None]
    if delays:
        report["retryAfterSeconds"] = max(delays)
    return report


def exit_code(error: BaseException) -> int:
    """The exit code that Python gives for an exception that nobody caught."""
    if isinstance(error, SystemExit):
        if error.code is None:
            return 0
        return error.code & 0xFF if isinstance(error.code, int) else 1
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _leaves(error: BaseException, depth: int = 0) -> Iterator[BaseException]:
    if _GROUP is not None and isinstance(error, _GROUP) and depth < 20:
        for part in error.exceptions:
            yield from _leaves(part, depth + 1)
    else:
        yield error


def _types(subject: BaseException, leaves: List[BaseException]) -> List[str]:
    """The names of its classes, the most specific first. A group has those too that all its exceptions share."""
    classes = _classes(subject)
    if leaves:
        shared = [_classes(leaf) for leaf in leaves]
        classes = classes + [kind for kind in shared[0] if all(kind in others for others in shared)]
    names: List[str] = []
    for kind in classes:
        qualified = f"{kind.__module__}.{kind.__qualname__}"
        # Built-in classes have one name, and one within a function has none that a rule could use.
        extra = [] if kind.__module__ == "builtins" or "<" in qualified else [qualified]
        names += [_cut(name, MAX_TYPE_BYTES) for name in [kind.__name__, *extra]]
    unique = list(dict.fromkeys(names))
    if len(unique) > MAX_TYPES or size(compact(unique)) > MAX_VALUE_BYTES:
        unique = list(dict.fromkeys(_cut(kind.__name__, MAX_TYPE_BYTES) for kind in classes))[:MAX_TYPES]
    while size(compact(unique)) > MAX_VALUE_BYTES:
        unique.pop()
    return unique


def _classes(error: BaseException) -> List[type]:
    """Its classes up to Exception. A bare RetryAfter or DoNotRetry is first of all what it was raised from."""
    own = [kind for kind in type(error).__mro__ if kind not in (object, BaseException)]
    cause = _next(error)[0] if error.__cause__ is not None else None
    if type(error) in (RetryAfter, DoNotRetry) and cause is not None:
        causes = [kind for kind in type(cause).__mro__ if kind not in (object, BaseException, *own)]
        return causes + own
    return own


def _lines(subject: BaseException, leaves: List[BaseException]) -> List[str]:
    lines = _one(subject)
    if len(leaves) > 1:
        for leaf in leaves[:MAX_LINKS]:
            lines += _one(leaf, "among them ")
        return lines + [f"and {len(leaves) - MAX_LINKS} more"] * (len(leaves) > MAX_LINKS)
    seen = {id(subject)}
    link, how = _next(subject)
    while link is not None and id(link) not in seen and len(seen) < MAX_LINKS:
        seen.add(id(link))
        lines += _one(link, how)
        link, how = _next(link)
    return lines


def _next(error: BaseException) -> Tuple[Optional[BaseException], str]:
    # A pool of processes hangs the child's traceback, as text, onto what came out of it.
    if type(error.__cause__).__name__ in ("_RemoteTraceback", "RemoteTraceback"):
        return None, ""
    if error.__cause__ is not None:
        return error.__cause__, "caused by "
    return (None, "") if error.__suppress_context__ else (error.__context__, "while handling ")


def _one(error: BaseException, how: str = "") -> List[str]:
    """The exception's type and text, with the innermost line in the first of its lines."""
    text = _text(error)
    first, *rest = ("<its __str__ fails>" if text is None else text).strip().splitlines() or [""]
    notes = [str(note) for note in getattr(error, "__notes__", ()) or ()]
    title = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return [how + title + _where(error.__traceback__), *rest, *notes]


def _where(trace: Optional[TracebackType]) -> str:
    """The innermost line of the program's own code; where there is none, of any code."""
    frames = [frame for frame in traceback.extract_tb(trace) if os.path.dirname(frame.filename) != _OWN]
    own = [frame for frame in frames if not _is_library(frame.filename)]
    for frame in reversed(own or frames):
        return f" ({os.path.basename(frame.filename)}:{frame.lineno} in {frame.name})"
    return ""


def _is_library(file: str) -> bool:
    parts = file.split(os.sep)
    return file.startswith(("<frozen", *_LIBRARY)) or "site-packages" in parts or "dist-packages" in parts


def _text(error: BaseException) -> Optional[str]:
    try:
        return str(error)
    except Exception:  # a broken __str__ must not hide the failure
        return None


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _plain(value: Any) -> Any:
    """JSON for what programs return: what has one obvious form as text, list or object."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if type(value).__module__ in ("decimal", "uuid", "ipaddress", "fractions"):
        return str(value)
    if hasattr(type(value), "__members__"):
        return value.name
    # numpy's scalars and their like
    if hasattr(value, "item") and callable(value.item) and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"an object of type {type(value).__name__} has no form in JSON")


def _cut(text: str, most: int) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - len(" …".encode())].decode("utf-8", "ignore") + " …"


def _bytes(report: Report) -> bytes:
    # A lone surrogate, as in a file's name, is no text that the operator could read.
    return json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
