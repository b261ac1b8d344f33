"""The issuer's public keys: which are believed, and how often they are read again.

A set is refused as a whole when it is dangerous (a symmetric key, one id twice, too large); a key
in it is skipped when it is merely of no use. The last good set stays when a later one is bad.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from kyros_dash._errors import Forbidden
from kyros_dash._json import parse_object

# Of a document and of the keys in it; the sidecar has the same limits.
MAX_BYTES = 64 * 1024
MAX_KEYS = 32
# Seconds: at most one fetch in this time, whatever key ids somebody invents.
MIN_REFRESH = 10.0
# Seconds: a key that was taken back stops working after this time at the latest.
MAX_AGE = 300.0

Fetch = Callable[[], bytes]


class Keys:
    """Public keys by id. Threads that miss a key wait for one fetch together."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        min_refresh: float = MIN_REFRESH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is fetched before the first key is asked for."""
        self._fetch = fetch
        self._min_refresh = min_refresh
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, EllipticCurvePublicKey] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None

    def get(self, kid: str) -> EllipticCurvePublicKey:
        """Give the key; `Forbidden` when nobody published it."""
        key = self._keys.get(kid)
        if key is not None and not self._is_old():
            return key
        with self._lock:
            if self._may_refresh():
                self._refresh()
            key = self._keys.get(kid)
        if key is None:
            raise Forbidden("the token is signed with a key that the issuer does not publish")
        return key

    def _is_old(self) -> bool:
        return self._read_at is None or self._clock() - self._read_at > MAX_AGE

    def _may_refresh(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= self._min_refresh

    def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = read_keys(self._fetch())
            self._read_at = self._clock()
        except Forbidden:
            # The last good set stays, if there is one; a key that is not in it is refused.
            if not self._keys:
                self._tried_at = None
                raise


def read_keys(document: bytes) -> dict[str, EllipticCurvePublicKey]:
    """Read a JSON Web Key Set (RFC 7517, section 5) for ES256 alone."""
    if len(document) > MAX_BYTES:
        raise Forbidden(f"the key set is larger than {MAX_BYTES} bytes")
    published = parse_object(document).get("keys")
    if not isinstance(published, list) or len(published) > MAX_KEYS:
        raise Forbidden("the sidecar's answer is no key set")
    seen: set[str] = set()
    keys: dict[str, EllipticCurvePublicKey] = {}
    for entry in published:
        if not isinstance(entry, dict) or entry.get("kty") == "oct":
            raise Forbidden("the key set holds a symmetric key: whoever reads it could sign")
        kid = entry.get("kid")
        if not isinstance(kid, str):
            continue
        if kid in seen:
            raise Forbidden("the key set has one key id twice")
        seen.add(kid)
        key = _accept(entry)
        if key is not None:
            keys[kid] = key
    if not keys:
        raise Forbidden("the key set holds no key for ES256")
    return keys


def _accept(entry: dict[str, Any]) -> EllipticCurvePublicKey | None:
    """Give the key where all of its members speak for ES256 signatures, and none against."""
    is_for_us = (
        entry.get("kty") == "EC"
        and entry.get("crv") == "P-256"
        and entry.get("alg", "ES256") == "ES256"
        and entry.get("use", "sig") == "sig"
        and "verify" in entry.get("key_ops", ["verify"])
        and "d" not in entry
    )
    if not is_for_us:
        return None
    try:
        key = PyJWK(entry, algorithm="ES256").key
    except (PyJWTError, ValueError):
        return None
    return key if isinstance(key, EllipticCurvePublicKey) else None
