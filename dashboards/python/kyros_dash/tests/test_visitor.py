"""Whose request it is: one right way in, and every wrong one refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from typing import Any

import jwt
import pytest
from conftest import DASHBOARD, Egress, Issuer, injected
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kyros_dash import ConfigurationError, Forbidden, Verifier, Visitor, environ_headers, visitor


def refused(headers: dict[str, str], verifier: Verifier) -> str:
    with pytest.raises(Forbidden) as error:
        visitor(headers, verifier=verifier)
    return str(error.value)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_by_hand(issuer: Issuer, header: str, payload: str) -> str:
    """A token of ours whose JSON no library would write."""
    text = f"{base64url(header.encode())}.{base64url(payload.encode())}"
    algorithm = jwt.get_algorithm_by_name("ES256")
    return f"{text}.{base64url(algorithm.sign(text.encode(), issuer.key))}"


def test_a_visitor_is_what_the_token_says(issuer: Issuer, verifier: Verifier) -> None:
    who = visitor(issuer.headers(), verifier=verifier)
    assert (who.tenant, who.tenant_uid, who.dashboard) == ("acme", "uid-of-acme", DASHBOARD)
    assert (who.subject, who.email, who.roles) == ("ana", "ana@acme.example", ("viewer", "analyst"))
    assert who.session == "session-of-acme"
    assert who.has_role("analyst")
    assert not who.has_role("admin")


def test_the_case_of_header_names_does_not_matter(issuer: Issuer, verifier: Verifier) -> None:
    upper = {name.upper(): value for name, value in issuer.headers().items()}
    assert visitor(upper, verifier=verifier).tenant == "acme"


def test_a_cgi_environment_has_the_same_headers(issuer: Issuer, verifier: Verifier) -> None:
    named = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in issuer.headers().items()
    }
    assert visitor(environ_headers({"PATH": "/", **named}), verifier=verifier).tenant == "acme"


def test_what_is_printed_shows_no_secret(ana: Visitor) -> None:
    for shown in (repr(ana), str(ana), f"{ana}"):
        assert "acme" in shown
        assert ana.session not in shown
        assert ana.authorization not in shown
        assert "ey" not in shown.replace("Key", "")


@pytest.mark.parametrize(
    "name",
    ["Authorization", "X-Kyros-Tenant", "X-Kyros-Dashboard", "X-Kyros-User", "X-Kyros-Session"],
)
def test_a_missing_header_is_nobody(name: str, issuer: Issuer, verifier: Verifier) -> None:
    headers = issuer.headers()
    del headers[name]
    assert name.lower() in refused(headers, verifier)


@pytest.mark.parametrize("headers", [{}, {"Host": "a"}, {"X-Kyros-Tenant": "acme"}])
def test_headers_of_nobody_name_no_tenant(headers: dict[str, str], verifier: Verifier) -> None:
    refused(headers, verifier)


def test_a_header_that_is_there_twice_is_refused(issuer: Issuer, verifier: Verifier) -> None:
    refused({**issuer.headers(), "x-kyros-tenant": "acme"}, verifier)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Kyros-Tenant", "globex"),
        ("X-Kyros-Tenant", "acme, globex"),
        ("X-Kyros-Tenant", ""),
        ("X-Kyros-Dashboard", "risk"),
        ("X-Kyros-User", "ben"),
        ("X-Kyros-Session", "session-of-globex"),
    ],
)
def test_headers_and_token_must_agree(
    name: str, value: str, issuer: Issuer, verifier: Verifier
) -> None:
    assert name.lower() in refused({**issuer.headers(), name: value}, verifier)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "dashboard:risk"},
        {"aud": ["dashboard:sales", "dashboard:risk"]},
        {"aud": ["dashboard:sales"]},
        {"aud": "kyros"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"sub": ""},
        {"sub": None},
        {"sub": 5},
        {"sid": None},
        {"jti": ""},
        {"tenant_id": None},
        {"tenant_id": ["acme"]},
        {"tenant_id": "acme,globex"},
        {"tenant_id": "Acme"},
        {"tenant_id": "../acme"},
        {"tenant_id": "a--b"},
        {"tenant_id": "a" * 31},
        {"tenant_id": "acme\n"},
        {"dashboard": "risk"},
        {"dashboard": None},
        {"roles": "viewer"},
        {"email": ["a"]},
    ],
)
def test_a_token_that_says_something_else_is_refused(
    changes: dict[str, Any], issuer: Issuer, verifier: Verifier
) -> None:
    refused(injected(issuer.token(**changes)), verifier)


@pytest.mark.parametrize(
    ("issued", "life", "is_valid"),
    [
        (-290, 300, True),
        (-303, 300, True),  # Within the leeway of five seconds.
        (-310, 300, False),
        (3, 300, True),
        (10, 300, False),
        (0, 3600, False),
    ],
)
def test_a_token_is_good_for_its_five_minutes(
    issued: int, life: int, is_valid: bool, issuer: Issuer, verifier: Verifier
) -> None:
    begin = int(time.time()) + issued
    headers = injected(issuer.token(iat=begin, nbf=begin, exp=begin + life))
    if is_valid:
        assert visitor(headers, verifier=verifier).tenant == "acme"
    else:
        refused(headers, verifier)


def test_a_token_that_begins_later_than_it_was_issued_waits(
    issuer: Issuer, verifier: Verifier
) -> None:
    refused(injected(issuer.token(nbf=int(time.time()) + 60)), verifier)


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "logout+jwt"},
        {"jku": "https://evil.example/keys"},
        {"crit": ["exp"]},
        {"kid": ""},
        {"kid": "../key-1"},
    ],
)
def test_a_header_that_asks_for_trust_is_refused(
    header: dict[str, Any], issuer: Issuer, verifier: Verifier
) -> None:
    refused(injected(issuer.token(header=header)), verifier)


def test_no_signature_and_a_shared_secret_are_no_signature(
    issuer: Issuer, verifier: Verifier
) -> None:
    claims = json.dumps(issuer.claims())
    header = {"typ": "at+jwt", "kid": issuer.kid}
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("none", "None", "HS256", "HS512"):
        written = json.dumps({**header, "alg": algorithm})
        text = f"{base64url(written.encode())}.{base64url(claims.encode())}"
        # The classic: the public key taken for a shared secret.
        mac = hmac.new(public, text.encode(), hashlib.sha256).digest()
        for signature in ("", base64url(mac)):
            refused(injected(f"{text}.{signature}"), verifier)


def test_another_algorithm_of_another_key_is_refused(issuer: Issuer, verifier: Verifier) -> None:
    keys: list[tuple[Any, str]] = [
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
    ]
    for key, algorithm in keys:
        headers = {"typ": "at+jwt", "kid": issuer.kid}
        refused(injected(jwt.encode(issuer.claims(), key, algorithm, headers)), verifier)


def test_another_key_under_our_id_is_refused(issuer: Issuer, verifier: Verifier) -> None:
    refused(Issuer(issuer.kid).headers(), verifier)


def test_a_changed_claim_breaks_the_signature(issuer: Issuer, verifier: Verifier) -> None:
    header, _, signature = issuer.token().split(".")
    payload = base64url(json.dumps(issuer.claims("globex")).encode())
    refused(injected(f"{header}.{payload}.{signature}", "globex"), verifier)


def test_a_claim_that_is_there_twice_is_refused_though_signed(
    issuer: Issuer, verifier: Verifier
) -> None:
    header = json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": issuer.kid})
    once = json.dumps(issuer.claims())
    assert visitor(injected(signed_by_hand(issuer, header, once)), verifier=verifier)
    twice = '{"tenant_id": "globex", ' + once[1:]
    assert "twice" in refused(injected(signed_by_hand(issuer, header, twice)), verifier)
    two_algorithms = '{"alg": "none", ' + header[1:]
    refused(injected(signed_by_hand(issuer, two_algorithms, once)), verifier)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c.d", "..", "é.é.é", "a" * 9000, "a.b.c\n"])
def test_what_is_no_token_is_refused(token: str, verifier: Verifier) -> None:
    refused(injected(token), verifier)


@pytest.mark.parametrize("scheme", ["Basic", "", "Bearer Bearer"])
def test_only_a_bearer_token_counts(scheme: str, issuer: Issuer, verifier: Verifier) -> None:
    refused({**issuer.headers(), "Authorization": f"{scheme} {issuer.token()}"}, verifier)


def test_a_sidecar_of_one_tenant_has_no_other(issuer: Issuer, egress: Egress) -> None:
    egress.expected = {**egress.expected, "tenant": "acme"}
    verifier = Verifier(egress.url)
    assert visitor(issuer.headers(), verifier=verifier).tenant == "acme"
    refused(issuer.headers("globex"), verifier)


def test_another_dashboards_token_is_refused_though_its_headers_agree(
    issuer: Issuer, verifier: Verifier
) -> None:
    token = issuer.token(aud="dashboard:risk", dashboard="risk")
    refused({**injected(token), "X-Kyros-Dashboard": "risk"}, verifier)


def test_two_visitors_at_once_do_not_mix(issuer: Issuer, verifier: Verifier) -> None:
    seen: list[tuple[str, Visitor]] = []

    def ask(tenant: str) -> None:
        for _ in range(50):
            seen.append((tenant, visitor(issuer.headers(tenant), verifier=verifier)))

    threads = [threading.Thread(target=ask, args=(t,)) for t in ("acme", "globex") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 400
    for tenant, who in seen:
        assert (who.tenant, who.session) == (tenant, f"session-of-{tenant}")


def test_without_an_address_it_says_what_to_set(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KYROS_API_URL", raising=False)
    with pytest.raises(ConfigurationError, match="KYROS_API_URL"):
        visitor(issuer.headers(), verifier=Verifier())


def test_the_address_is_that_of_the_environment(
    issuer: Issuer, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KYROS_API_URL", egress.url)
    assert visitor(issuer.headers(), verifier=Verifier()).tenant == "acme"


def test_a_sidecar_that_is_down_lets_nobody_in(issuer: Issuer) -> None:
    assert "does not answer" in refused(issuer.headers(), Verifier("http://127.0.0.1:9"))
