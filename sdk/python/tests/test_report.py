"""What is reported of exceptions and values: pure."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import pickle
import sys
import uuid
from collections import namedtuple
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path

import pytest

from retryable_task import Attempt, DoNotRetry, RetryAfter, _report, attempt


class Flaky(ConnectionError):
    pass


def raised(error: BaseException, cause: BaseException | None = None) -> dict:
    try:
        if cause is None:
            raise error
        raise error from cause
    except BaseException as caught:
        return _report.failure(caught)


def test_an_exception_is_its_classes_its_text_and_its_line():
    report = raised(Flaky("db:5432 refused"))
    assert report["errorType"] == "Flaky"
    assert report["errorTypes"] == ["Flaky", f"{__name__}.Flaky", "ConnectionError", "OSError", "Exception"]
    line = raised.__code__.co_firstlineno + 3
    assert report["message"] == f"Flaky: db:5432 refused (test_report.py:{line} in raised)"
    assert set(report) == {"errorType", "errorTypes", "message"}


def test_the_innermost_line_is_the_programs_own_and_not_the_librarys():
    def load():
        return json.loads("{")

    with pytest.raises(ValueError) as caught:
        load()
    message = _report.failure(caught.value)["message"]
    assert "(test_report.py:" in message and "in load)" in message, message


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (30, 30),
        (0.5, 0.5),
        ("120", 120),
        (" 7 ", 7),
        (datetime.timedelta(minutes=2), 120),
        (-5, 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        (datetime.datetime(1999, 12, 31), 0),
        (None, None),
        ("soon", None),
        ("", None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_retry_after_takes_what_a_server_sends(delay, seconds):
    assert raised(RetryAfter(delay)).get("retryAfterSeconds") == seconds


def test_a_date_ahead_is_a_delay():
    ahead = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    for delay in (ahead, format_datetime(ahead)):
        assert 3500 < raised(RetryAfter(delay))["retryAfterSeconds"] <= 3600


def test_what_is_raised_from_something_has_its_types_first():
    report = raised(RetryAfter(30, "429"), Flaky("busy"))
    assert report["errorType"] == "Flaky"
    assert report["errorTypes"][-3:] == ["RetryAfter", "retryable_task.RetryAfter", "Exception"]
    assert "ConnectionError" in report["errorTypes"] and report["retryAfterSeconds"] == 30
    lines = report["message"].splitlines()
    assert lines[0].startswith("RetryAfter: 429 (") and lines[1].startswith("caused by Flaky: busy")

    class Busy(RetryAfter):
        """A type of one's own stays what it is."""

    assert raised(Busy(1), Flaky("busy"))["errorType"] == "Busy"


def test_do_not_retry():
    report = raised(DoNotRetry("line 7 is no order"))
    assert report["doNotRetry"] is True
    assert report["message"].startswith("DoNotRetry: line 7 is no order (")


def test_errors_survive_the_way_between_processes():
    for error in (RetryAfter("30", "429"), DoNotRetry("no")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), getattr(copy, "seconds", None)) == (
            type(error),
            str(error),
            getattr(error, "seconds", None),
        )


def test_a_chain_is_told_and_ends():
    def chain():
        try:
            try:
                raise KeyError("user")
            except KeyError:
                raise ValueError("bad row")
        except ValueError as error:
            raise RuntimeError("import failed") from error

    with pytest.raises(RuntimeError) as caught:
        chain()
    starts = [line.split(" (")[0] for line in _report.failure(caught.value)["message"].splitlines()]
    assert starts == ["RuntimeError: import failed", "caused by ValueError: bad row", "while handling KeyError: 'user'"]

    hidden = ValueError("shown")
    hidden.__context__, hidden.__suppress_context__ = KeyError("hidden"), True
    assert _report.failure(hidden)["message"] == "ValueError: shown"
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert _report.failure(first)["message"] == "ValueError: a\ncaused by ValueError: b"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups of exceptions came with 3.11")
def test_groups():
    one = raised(ExceptionGroup("tasks", [Flaky("refused")]))
    assert (one["errorType"], one["message"]) == ("Flaky", "Flaky: refused"), "as a TaskGroup raises one failure"
    shared = raised(ExceptionGroup("tasks", [Flaky("a"), ExceptionGroup("more", [TimeoutError("b")])]))
    assert shared["errorType"] == "ExceptionGroup"
    assert "OSError" in shared["errorTypes"] and "ConnectionError" not in shared["errorTypes"]
    assert shared["message"].splitlines()[1:] == ["among them Flaky: a", "among them TimeoutError: b"]
    said = raised(ExceptionGroup("tasks", [RetryAfter(3), RetryAfter(30), DoNotRetry("no")]))
    assert (said["retryAfterSeconds"], said["doNotRetry"]) == (30, True)
    many = raised(BaseExceptionGroup("tasks", [ValueError(str(n)) for n in range(50)]))
    assert many["message"].splitlines()[-1] == "and 45 more"


def test_notes_are_told():
    error = ValueError("first\nsecond")
    error.__notes__ = ["row 7"]
    assert _report.failure(error)["message"] == "ValueError: first\nsecond\nrow 7"


def test_an_error_that_cannot_be_printed_is_reported_all_the_same():
    class Broken(Exception):
        def __str__(self):
            raise RuntimeError("no")

    report = _report.failure(Broken())
    assert report["message"] == "Broken: <its __str__ fails>"
    assert report["errorTypes"] == ["Broken", "Exception"], "a class within a function has no name that a rule could use"


def test_many_long_classes_stay_within_what_the_operator_reads():
    kind = Exception
    for n in range(40):
        kind = type("E" * 200 + str(n), (kind,), {})
    types = _report.failure(kind("x"))["errorTypes"]
    assert 1 <= len(types) <= 16 and all(len(name.encode()) <= 128 for name in types)
    assert len(_report.compact(types).encode()) <= 1024


@pytest.mark.parametrize(("code", "message", "exits"), [(None, None, 0), (0, None, 0), (3, None, 3), ("no disk", "no disk", 1), (256, None, 0)])
def test_exits(code, message, exits):
    error = SystemExit(code)
    assert (_report.failure(error).get("message"), _report.exit_code(error)) == (message, exits)


Point = namedtuple("Point", "x y")


@dataclass
class Row:
    id: int
    at: datetime.date


class Colour(enum.Enum):
    RED = 1


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "reported"),
    [
        ({"rows": 12}, {"rows": 12}),
        ("text", "text"),
        (0, 0),
        (Point(1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (Row(1, datetime.date(2026, 11, 22)), {"id": 1, "at": "2026-11-22"}),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Path("/out/x"), "/out/x"),
        (Colour.RED, "RED"),
    ],
)
def test_results_that_have_a_form_in_json(value, reported):
    assert _report.result(value) == (reported, None)


@pytest.mark.parametrize("value", [float("nan"), {(1, 2): 3}, b"\xff", object(), Unprintable()])
def test_results_that_have_none_are_their_repr_and_no_failure(value):
    reported, note = _report.result(value)
    assert isinstance(reported, str) and "no JSON" in note


def test_a_result_of_itself_is_reported():
    loop = []
    loop.append(loop)
    assert _report.result(loop)[0] == "[[...]]"


def test_a_long_result_is_cut_and_that_is_said():
    reported, note = _report.result(["x" * 5000])
    assert len(reported.encode()) <= 1024 and reported.endswith(" …")
    assert note == "the result has 5,004 bytes, and 1,024 are kept: store it elsewhere and return where"


@pytest.mark.parametrize("text", ["x" * 100_000, "\0" * 5000, "ä" * 5000, "😀" * 5000, '"' * 5000, "\udcff" * 5000, "a\n" * 5000])
def test_a_report_is_json_of_at_most_4096_bytes_whatever_the_message(text):
    report = _report.failure(ValueError(text))
    report.update(checkpoint="c" * 1000, result="r" * 1000, doNotRetry=True, retryAfterSeconds=30.0)
    data = _report.encode(report)
    read = json.loads(data.decode("utf-8"))
    assert len(data) <= 4096
    assert read["message"].startswith("ValueError: ") and read["message"].endswith(" …")
    assert (read["doNotRetry"], read["retryAfterSeconds"], read["checkpoint"]) == (True, 30.0, "c" * 1000)


def test_whatever_else_is_long_the_checkpoint_stays_and_the_message_begins():
    quotes = '"' * 1000
    report = {"errorType": "E", "errorTypes": [quotes], "checkpoint": quotes, "result": quotes, "message": quotes}
    data = _report.encode(report)
    assert len(data) <= 4096 and json.loads(data)["checkpoint"] == quotes and json.loads(data)["message"].startswith('""""')


def test_the_kubelet_cuts_the_message_and_nothing_else():
    data = _report.encode({"message": "m" * 9000, "result": {"a": 1}, "errorType": "E", "doNotRetry": True})
    assert data.index(b'"message"') > data.index(b'"result"') > data.index(b'"errorType"') > data.index(b'"doNotRetry"')


def test_the_environment_of_an_attempt():
    assert attempt({}) == Attempt()
    env = {
        "RETRYABLE_ATTEMPT": "3",
        "RETRYABLE_MAX_RETRIES": "5",
        "RETRYABLE_TASK_NAME": "import",
        "RETRYABLE_TASK_UID": "u",
        "RETRYABLE_LAST_REASON": "OOMKilled",
        "RETRYABLE_LAST_EXIT_CODE": "137",
        "RETRYABLE_CHECKPOINT": '{"row": 7}',
        "TRACEPARENT": "00-1-2-01",
    }
    assert attempt(env) == Attempt(3, 5, "import", "u", "OOMKilled", 137, {"row": 7}, "00-1-2-01")
    assert attempt({"RETRYABLE_CHECKPOINT": "row 7", "RETRYABLE_ATTEMPT": "x"}) == Attempt(checkpoint="row 7")
