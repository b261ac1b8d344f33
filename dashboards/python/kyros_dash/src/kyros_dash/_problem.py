"""From an answer that is not 200 to an error that says what to do."""

from __future__ import annotations

from typing import Any

import httpx

from kyros_dash._errors import (
    DataError,
    InvalidQuery,
    NotFound,
    SessionEnded,
    TooManyRequests,
    Unavailable,
)

_TYPE = "urn:kyros:problem:"
_DECISION = "urn:kyros:decision:"
_INVALID = frozenset({400, 406, 413, 414, 415, 422})
_FAULT = 500
# Seconds to wait where a 429 does not say how long.
DEFAULT_RETRY = 1.0


def error_of(answer: httpx.Response) -> DataError:
    """Give the error for an answer; a problem document (RFC 9457) fills in the details."""
    status = answer.status_code
    problem = _document(answer)
    title = problem.get("title")
    members: dict[str, Any] = {
        "status": status,
        "code": str(problem.get("type", "")).removeprefix(_TYPE) or "unknown",
        "detail": problem.get("detail"),
        "errors": [e for e in problem.get("errors", []) if isinstance(e, dict)],
        "decision": str(problem.get("instance", "")).removeprefix(_DECISION) or None,
    }
    title = title if isinstance(title, str) else f"The data API answers {status}"
    if status == httpx.codes.UNAUTHORIZED:
        return SessionEnded(title, **members)
    if status == httpx.codes.NOT_FOUND:
        return NotFound(title, **members)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return TooManyRequests(title, retry_after=retry_after(answer), **members)
    if status in _INVALID:
        return InvalidQuery(title, **members)
    if status >= _FAULT:
        return Unavailable(title, **members)
    return DataError(title, **members)


def retry_after(answer: httpx.Response) -> float:
    """How long the API wants us to wait, in seconds. It never gives a date."""
    try:
        return max(0.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):
        return DEFAULT_RETRY


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
