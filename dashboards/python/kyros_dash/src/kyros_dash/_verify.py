"""From the text of a tenant token to what it says, with no options: anything odd is refused.

The same rules as the sidecar's (docs/decisions/0002): size and shape, exactly `alg`, `typ` and
`kid` in the header, the algorithm by key, the signature, then the claims.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt

from kyros_dash._egress import Egress
from kyros_dash._errors import Forbidden
from kyros_dash._json import parse_object
from kyros_dash._keys import Keys

# How far two clocks may differ, in seconds.
LEEWAY = 5
# The life of a tenant token, in seconds.
MAX_LIFE = 300
MAX_TOKEN = 8 * 1024
MAX_ID = 255
ALGORITHM = "ES256"
TYPE = "at+jwt"

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# A DNS label of at most 30 characters without `--`, as for every tenant and dashboard.
_NAME = re.compile(r"(?=.{1,30}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")
_REQUIRED = ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid", "tenant_id", "dashboard"]


@dataclass(frozen=True)
class Expected:
    """Whose tokens are for this dashboard, as its sidecar says."""

    issuer: str
    dashboard: str
    tenant: str | None = None

    @property
    def audience(self) -> str:
        """The only audience."""
        return f"dashboard:{self.dashboard}"


class Verifier:
    """Verifies the tokens of one dashboard. The sidecar at `api_url` says which, and has the keys.

    Programs need none of their own: `visitor(headers)` uses one for `KYROS_API_URL`.
    """

    def __init__(
        self,
        api_url: str | None = None,
        *,
        expected: Expected | None = None,
        keys: Keys | None = None,
    ) -> None:
        """Nothing is fetched before the first token; `expected` and `keys` spare the sidecar."""
        egress = Egress(api_url)
        self._expect: Callable[[], Expected] = lambda: expected or _expected(egress)
        self._expected = expected
        self._keys = keys or Keys(egress.keys)
        self._lock = threading.Lock()

    def claims(self, token: str) -> dict[str, Any]:
        """Give what a valid token says. Everything else is `Forbidden`."""
        kid = _key_id(token)
        expected = self._what_is_expected()
        try:
            claims = jwt.decode(
                token,
                self._keys.get(kid),
                algorithms=[ALGORITHM],
                audience=expected.audience,
                issuer=expected.issuer,
                leeway=LEEWAY,
                options={"require": _REQUIRED, "strict_aud": True},
            )
        except jwt.PyJWTError as error:
            # Its words name claims, never the token.
            raise Forbidden(f"the token is not valid: {error}") from error
        # PyJWT keeps the last of two equal members; a token with two of anything says nothing.
        parse_object(_decoded(token.split(".")[1]))
        _check(claims, expected)
        return dict(claims)

    def _what_is_expected(self) -> Expected:
        with self._lock:
            if self._expected is None:
                self._expected = self._expect()
            return self._expected


def _expected(egress: Egress) -> Expected:
    told = parse_object(egress.expected())
    issuer, dashboard, tenant = told.get("issuer"), told.get("dashboard"), told.get("tenant")
    if not isinstance(issuer, str) or not is_name(dashboard):
        raise Forbidden("the sidecar does not say whose tokens are for this dashboard: update it")
    if tenant is not None and not is_name(tenant):
        raise Forbidden("the sidecar names a tenant that cannot be one")
    return Expected(issuer, str(dashboard), tenant)


def is_name(value: object) -> bool:
    """Whether this can be the name of a tenant or a dashboard."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _key_id(token: str) -> str:
    """Give the id of the key that is said to have signed, before any cryptography."""
    if len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
        raise Forbidden("not a token")
    header = parse_object(_decoded(token.split(".")[0]))
    if set(header) != {"alg", "typ", "kid"}:
        raise Forbidden("the token's header has other members than alg, typ and kid")
    if header["alg"] != ALGORITHM:
        raise Forbidden(f"the token is not signed with {ALGORITHM}")
    if header["typ"] != TYPE:
        raise Forbidden("this is another kind of token")
    kid = header["kid"]
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise Forbidden("the token names no key")
    return kid


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Forbidden("not a token") from error


def _check(claims: dict[str, Any], expected: Expected) -> None:
    """Check what RFC 7519 leaves to us: one tenant, this dashboard, a short life."""
    for name in ("sub", "jti", "sid"):
        value = claims[name]
        if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
            raise Forbidden(f"the token's {name} is not an id")
    for name in ("exp", "nbf", "iat"):
        if not isinstance(claims[name], int) or isinstance(claims[name], bool):
            raise Forbidden(f"the token's {name} is not a time")
    if claims["exp"] - claims["iat"] > MAX_LIFE + LEEWAY:
        raise Forbidden("the token lives longer than a tenant token may")
    if not is_name(claims["tenant_id"]):
        raise Forbidden("the token does not name exactly one tenant")
    if claims["dashboard"] != expected.dashboard:
        raise Forbidden("the token is another dashboard's")
    if expected.tenant is not None and claims["tenant_id"] != expected.tenant:
        raise Forbidden("this dashboard serves another tenant alone")
    roles, email = claims.get("roles", []), claims.get("email")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise Forbidden("the token's roles are not a list of words")
    if email is not None and not isinstance(email, str):
        raise Forbidden("the token's email is not a text")
