"""What can go wrong, and what to do about each: every error is one class and one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class KyrosError(Exception):
    """Anything that this package raises."""


class ConfigurationError(KyrosError):
    """The program was not told where its sidecar is, or an extra is not installed."""


class Forbidden(KyrosError):
    """It is not certain whose request this is. Answer with 401 or 403; there is no default tenant.

    The message is for the log. It names no token and should not be shown to whoever asked.
    """


def _place(mistake: Mapping[str, Any]) -> str:
    """Where a mistake is: a parameter, or a JSON pointer, which is empty for the whole body."""
    return str(mistake.get("parameter") or mistake.get("pointer") or "the query")


class DataError(KyrosError):
    """The data API did not give the rows that it was asked for.

    `status` and `code` are for programs (`code` is the last word of the problem's type, RFC 9457),
    `title` is for people, `errors` has the single mistakes, and `decision` finds the request in
    the platform's log.
    """

    hint = "Report the decision id to whoever runs Kyros."

    def __init__(
        self,
        title: str,
        *,
        status: int | None = None,
        code: str = "unknown",
        detail: str | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        decision: str | None = None,
    ) -> None:
        """Keep the problem's members; the message is made of them."""
        self.title = title
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.decision = decision
        super().__init__(self._message())

    def _message(self) -> str:
        mistakes = [f"{_place(e)}: {e.get('detail', '')}" for e in self.errors]
        parts = [self.title, self.detail, *mistakes, self.hint]
        text = ". ".join(part.rstrip(".") for part in parts if part)
        known = [str(self.status)] if self.status else []
        known += [self.code] if self.code != "unknown" else []
        known += [f"decision {self.decision}"] if self.decision else []
        return f"{text} ({', '.join(known)})" if known else text


class SessionEnded(DataError):
    """401: the session is over, or never was. Stop asking: the page's socket is being closed."""

    hint = "The session has ended: let the person sign in again"


class NotFound(DataError):
    """404: no such dataset for this dashboard and tenant; whether another has it is not said."""

    hint = "Name it under `datasets` of the Dashboard, and import the tenant's data"


class InvalidQuery(DataError):
    """400, 413, 414 or 422: the query does not fit the dataset. `Data.schema` says what would."""

    hint = "Data.schema(dataset) lists the columns and what may be asked of each"


class TooManyRows(DataError):
    """There are more rows than were asked for, and half an answer would look like a whole one."""

    hint = "Group and aggregate in the query, or pass limit= to take the first rows only"


class TooManyRequests(DataError):
    """429: the tenant's limits. It was waited for once already; `retry_after` is in seconds."""

    hint = "Ask less often, or raise `limits` of the Tenant"

    def __init__(self, title: str, *, retry_after: float, **problem: Any) -> None:  # noqa: ANN401
        """Keep how long to wait."""
        self.retry_after = retry_after
        super().__init__(title, **problem)


class Unavailable(DataError):
    """No answer in time, no connection, or a fault at the other end (5xx). Try again later."""

    hint = "Try again in a moment; if it stays, see whether the sidecar and the API are up"
