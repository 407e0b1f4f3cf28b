"""What the operator tells an attempt, by its environment."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Mapping, Optional


@dataclass(frozen=True)
class Attempt:
    """The attempt that runs. Outside of a cluster it is the first one, and the rest is None."""

    #: From 1. Attempts that were not charged count too.
    number: int = 1
    #: ``spec.maxRetries``: the tries after the first.
    max_retries: Optional[int] = None
    #: The task's name.
    task: Optional[str] = None
    #: The task's UID, the same in all attempts: an idempotency key.
    uid: Optional[str] = None
    #: Why the last failed attempt failed; None before the first failure.
    last_reason: Optional[str] = None
    #: Its exit code, if a container ended.
    last_exit_code: Optional[int] = None
    #: What an earlier attempt gave to ``checkpoint``.
    checkpoint: Any = None
    #: W3C trace context: one trace per task, one span per attempt.
    traceparent: Optional[str] = None


def attempt(environment: Optional[Mapping[str, str]] = None) -> Attempt:
    """The attempt that runs, as the environment has it."""
    env = os.environ if environment is None else environment
    return Attempt(
        number=_int(env.get("RETRYABLE_ATTEMPT")) or 1,
        max_retries=_int(env.get("RETRYABLE_MAX_RETRIES")),
        task=env.get("RETRYABLE_TASK_NAME"),
        uid=env.get("RETRYABLE_TASK_UID"),
        last_reason=env.get("RETRYABLE_LAST_REASON"),
        last_exit_code=_int(env.get("RETRYABLE_LAST_EXIT_CODE")),
        checkpoint=_json(env.get("RETRYABLE_CHECKPOINT")),
        traceparent=env.get("TRACEPARENT"),
    )


def _int(text: Optional[str]) -> Optional[int]:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _json(text: Optional[str]) -> Any:
    try:
        return None if not text else json.loads(text)
    except ValueError:
        return text  # a text that another program wrote
