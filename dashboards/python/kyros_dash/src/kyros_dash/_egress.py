"""The way to the sidecar next door: one HTTP client for all visitors, which remembers nothing.

No cookie of one answer goes along with the next request, and proxies named in the environment are
not asked: the sidecar is on the loopback address, and what goes there is this pod's alone.
"""

from __future__ import annotations

import os
import threading
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from kyros_dash._errors import ConfigurationError, Forbidden

KEYS = "/.well-known/jwks.json"
EXPECTED = "/.well-known/kyros-dashboard"
# Seconds: the sidecar has to be asked on the way to a page, so not long.
TIMEOUT = 5.0

_lock = threading.Lock()
_clients: dict[int, httpx.Client] = {}


def client() -> httpx.Client:
    """Give this process's client; after a fork the child makes one of its own."""
    with _lock:
        process = os.getpid()
        if process not in _clients:
            # A parent's connections are not the child's to use, nor to close.
            _clients[process] = httpx.Client(
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=False,
                trust_env=False,
            )
        return _clients[process]


class Egress:
    """The sidecar's listener for its dashboard."""

    def __init__(self, url: str | None = None) -> None:
        """Take `KYROS_API_URL` where no address is given; it is looked at when it is needed."""
        self._url = url

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        url = self._url or os.environ.get("KYROS_API_URL", "")
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(
                "KYROS_API_URL is not set: start the dashboard with the address that `kyros up` "
                "prints, e.g. KYROS_API_URL=http://127.0.0.1:9050"
            )
        return url.rstrip("/")

    def keys(self) -> bytes:
        """Give the issuer's key set."""
        return self._public(KEYS)

    def expected(self) -> bytes:
        """Give what a token must say to be for this dashboard."""
        return self._public(EXPECTED)

    def _public(self, path: str) -> bytes:
        url = f"{self.url}{path}"
        try:
            answer = client().get(url, timeout=TIMEOUT)
        except httpx.HTTPError as error:
            raise Forbidden(
                f"tokens cannot be verified, because {url} does not answer ({error}): "
                "is this the sidecar's address, and is it up?"
            ) from error
        if answer.status_code != httpx.codes.OK:
            raise Forbidden(
                f"tokens cannot be verified, because {url} answers {answer.status_code}"
            )
        return answer.content
