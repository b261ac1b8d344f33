"""The headers that a sidecar injects, read from whatever mapping a framework keeps them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from kyros_dash._errors import Forbidden

AUTHORIZATION = "authorization"
TENANT = "x-kyros-tenant"
DASHBOARD = "x-kyros-dashboard"
USER = "x-kyros-user"
SESSION = "x-kyros-session"

_READ = frozenset({AUTHORIZATION, TENANT, DASHBOARD, USER, SESSION})


class Headers(Protocol):
    """A mapping of header names to values, as every framework has one of its own."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Give names and values."""
        ...


def injected(headers: Headers) -> dict[str, str]:
    """The sidecar's headers by lower-case name; each exactly once, or it is refused."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        folded = name.lower() if isinstance(name, str) else ""
        if folded not in _READ:
            continue
        if folded in found:
            raise Forbidden(f"the header {folded} is there twice")
        if not isinstance(value, str):
            raise Forbidden(f"the header {folded} is not one text")
        found[folded] = value
    missing = sorted(_READ - found.keys())
    if missing:
        raise Forbidden(
            f"no header {missing[0]}: this request did not come through the sidecar; "
            "open the dashboard at its address in the portal"
        )
    return found


def has_any(headers: Headers) -> bool:
    """Whether the sidecar spoke at all; a probe of the kubelet's carries nothing of it."""
    return any(name.lower().startswith("x-kyros-") for name, _ in headers.items())


def environ_headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Headers out of a CGI or WSGI environment, where `X-Kyros-Tenant` is `HTTP_X_KYROS_TENANT`.

    For a WSGI program's `environ`, and for `os.environ` of a Voilà kernel. The sidecar lets no
    header with an underscore in, so nobody outside can make two names into one.
    """
    prefix = "HTTP_"
    return {
        name.removeprefix(prefix).replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith(prefix)
    }
