"""A page on one socket: verified at the handshake, good for as long as the socket is."""

from __future__ import annotations

import time
from typing import Any

import pytest
from conftest import Issuer, injected

from kyros_dash import Forbidden, Verifier
from kyros_dash._page import visitor_of_page


def ending(issuer: Issuer, tenant: str = "acme", **changes: Any) -> dict[str, str]:
    """Headers whose token ends two to three seconds from now, with the leeway of five."""
    end = int(time.time()) - 2
    return injected(issuer.token(tenant, iat=end - 300, nbf=end - 300, exp=end, **changes), tenant)


def test_a_page_outlives_the_token_of_its_handshake(issuer: Issuer, verifier: Verifier) -> None:
    headers, state = ending(issuer), {}  # type: ignore[var-annotated]
    first = visitor_of_page(headers, state, verifier=verifier)
    time.sleep(4.1)
    with pytest.raises(Forbidden, match="expired"):
        visitor_of_page(headers, {}, verifier=verifier)
    assert visitor_of_page(headers, state, verifier=verifier) == first


def test_a_page_keeps_no_token(issuer: Issuer, verifier: Verifier) -> None:
    state: dict[str, Any] = {}
    headers = issuer.headers()
    visitor_of_page(headers, state, verifier=verifier)
    assert headers["Authorization"].removeprefix("Bearer ") not in repr(state)


def test_a_page_that_comes_back_on_a_new_socket_is_verified_anew(
    issuer: Issuer, verifier: Verifier
) -> None:
    state: dict[str, Any] = {}
    visitor_of_page(issuer.headers(jti="j1"), state, verifier=verifier)
    assert visitor_of_page(issuer.headers(jti="j2"), state, verifier=verifier).tenant == "acme"
    with pytest.raises(Forbidden):
        visitor_of_page(Issuer().headers(), state, verifier=verifier)


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_a_page_of_one_is_not_anothers(tenant: str, issuer: Issuer, verifier: Verifier) -> None:
    state: dict[str, Any] = {}
    visitor_of_page(issuer.headers(), state, verifier=verifier)
    other = {**issuer.headers(tenant, sub="ben"), "X-Kyros-User": "ben"}
    with pytest.raises(Forbidden, match="somebody else"):
        visitor_of_page(other, state, verifier=verifier)
    with pytest.raises(Forbidden):
        visitor_of_page({}, state, verifier=verifier)
