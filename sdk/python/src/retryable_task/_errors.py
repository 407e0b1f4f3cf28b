"""What a task raises to say more than "it failed"."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Optional, Union

#: What a server may send as Retry-After, and what people have at hand.
Delay = Union[int, float, timedelta, datetime, str, None]


class RetryAfter(Exception):
    """The attempt has failed, and the next one is to start after ``delay`` at the earliest.

    ``delay`` is a number of seconds, a ``timedelta``, a ``datetime``, or the value of the header ``Retry-After`` as it
    came: seconds or a date. A header that is missing (None) or makes no sense gives no delay: the task's own back-off
    holds then.
    """

    def __init__(self, delay: Delay, message: str = "") -> None:
        super().__init__(delay, message)  # as given, so that it can be pickled between processes
        self.message = message
        self.seconds = _seconds(delay)

    def __str__(self) -> str:
        if self.message:
            return self.message
        return "" if self.seconds is None else f"retry after {self.seconds:g} s"


class DoNotRetry(Exception):
    """The attempt has failed, and a retry cannot help: the task fails at once."""


class Terminated(SystemExit):
    """SIGTERM has come: the attempt is being stopped. Exit code 143."""

    def __init__(self) -> None:
        super().__init__(143)

    def __str__(self) -> str:
        return "stopped by SIGTERM"


def _seconds(delay: Delay) -> Optional[float]:
    if isinstance(delay, str):
        delay = _header(delay.strip())
    if isinstance(delay, datetime):
        # As `email` does, a date without a zone is one in UTC.
        aware = delay if delay.tzinfo else delay.replace(tzinfo=timezone.utc)
        delay = aware - datetime.now(timezone.utc)
    if isinstance(delay, timedelta):
        delay = delay.total_seconds()
    if delay is None:
        return None
    number = float(delay)
    return max(number, 0.0) if math.isfinite(number) else None


def _header(text: str) -> Union[float, datetime, None]:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None


for _kind in (RetryAfter, DoNotRetry, Terminated):
    _kind.__module__ = __package__  # where people import them from, and the name for rules
