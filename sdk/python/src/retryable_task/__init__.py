"""Tells the operator of RetryableTask how a Python function ended.

``python -m retryable_task module:function`` runs a function, and :func:`reported` decorates one's own ``main``. Either
writes the termination report: exceptions, ``RetryAfter``, ``DoNotRetry``, the returned value, a checkpoint.
"""

from ._attempt import Attempt, attempt
from ._errors import DoNotRetry, RetryAfter, Terminated
from ._session import checkpoint, partial, reported

__all__ = ["Attempt", "DoNotRetry", "RetryAfter", "Terminated", "attempt", "checkpoint", "partial", "reported"]
