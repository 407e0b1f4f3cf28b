"""What the tests of the Python package run in a container."""

import sys
import time

from retryable_task import DoNotRetry, RetryAfter, attempt, checkpoint


class Unavailable(ConnectionError):
    """A class of one's own, of which rules may know the base only."""


def load(day: str) -> dict:
    """Fails twice, and then succeeds."""
    now = attempt()
    if now.number == 1:
        checkpoint({"row": 7})
        raise Unavailable("orders-db:5432 refused")
    if now.number == 2:
        raise RetryAfter("2", "HTTP 429") from Unavailable("too many")
    return {"day": day, "attempt": now.number, "checkpoint": now.checkpoint}


def refuse() -> None:
    """Fails in a way that no retry heals."""
    raise DoNotRetry("line 7 is no order")


def wait() -> None:
    """Runs until it is stopped."""
    print("ready", flush=True)
    try:
        time.sleep(600)
    finally:
        print("cleaned up", file=sys.stderr, flush=True)
