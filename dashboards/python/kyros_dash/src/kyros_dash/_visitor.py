"""Whose request this is: the injected headers and the token in them, which must agree.

A socket's headers stay those of its handshake, and the token in them ends after five minutes. So
verify once, when the socket or the page begins, and keep the `Visitor`: it is good for as long as
that connection is, and the sidecar closes the connection when the session ends. Data is asked for
with the session, which lives as long.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from kyros_dash import _headers
from kyros_dash._errors import Forbidden
from kyros_dash._verify import Verifier

_lock = threading.Lock()
_verifiers: list[Verifier] = []


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who looks at one tenant's data in one dashboard. Only `visitor` makes one."""

    tenant: str
    tenant_uid: str | None
    dashboard: str
    subject: str
    email: str | None
    roles: tuple[str, ...]
    # With it the sidecar gives data, so it is as good as a password within this pod.
    session: str = field(repr=False)
    # For callers of the API, whose token has no session at the sidecar.
    authorization: str = field(repr=False, compare=False)

    def has_role(self, role: str) -> bool:
        """Whether the person has this role in the tenant."""
        return role in self.roles


def visitor(headers: _headers.Headers, *, verifier: Verifier | None = None) -> Visitor:
    """Say whose request has these headers, or raise `Forbidden`; there is no default tenant.

    `headers` is the mapping that the framework has, in any case of letters. The token's signature
    is verified again, and its tenant, dashboard, person and session must be those of the other
    headers.
    """
    injected = _headers.injected(headers)
    scheme, _, token = injected[_headers.AUTHORIZATION].partition(" ")
    if scheme.lower() != "bearer":
        raise Forbidden("the Authorization header is not a Bearer token")
    claims = (verifier or _default()).claims(token)
    for name, claim in (
        (_headers.TENANT, "tenant_id"),
        (_headers.DASHBOARD, "dashboard"),
        (_headers.USER, "sub"),
        (_headers.SESSION, "sid"),
    ):
        if injected[name] != claims[claim]:
            raise Forbidden(f"the header {name} and the token do not say the same")
    uid = claims.get("tenant_uid")
    return Visitor(
        tenant=claims["tenant_id"],
        tenant_uid=uid if isinstance(uid, str) else None,
        dashboard=claims["dashboard"],
        subject=claims["sub"],
        email=claims.get("email"),
        roles=tuple(claims.get("roles", [])),
        session=claims["sid"],
        authorization=injected[_headers.AUTHORIZATION],
    )


def _default() -> Verifier:
    """Give the verifier of the sidecar that `KYROS_API_URL` names, one for the whole process."""
    with _lock:
        if not _verifiers:
            _verifiers.append(Verifier())
        return _verifiers[0]
