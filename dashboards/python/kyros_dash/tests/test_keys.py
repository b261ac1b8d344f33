"""The issuer's keys: which sets are believed, and how often they are read."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from conftest import Egress, Issuer

from kyros_dash import Forbidden, Verifier, visitor
from kyros_dash._keys import MAX_AGE, MIN_REFRESH, Keys, read_keys


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Published:
    """What is published at the moment, and how often it was read."""

    def __init__(self, *issuers: Issuer) -> None:
        self.issuers = list(issuers)
        self.reads = 0

    def __call__(self) -> bytes:
        self.reads += 1
        if not self.issuers:
            raise Forbidden("nobody is there")
        return document(*(issuer.jwk() for issuer in self.issuers))


def document(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def test_a_new_key_is_found_and_invented_ones_cost_one_read_in_ten_seconds() -> None:
    old, new, clock = Issuer("old"), Issuer("new"), Clock()
    published = Published(old)
    keys = Keys(published, clock=clock)
    assert keys.get("old")
    for number in range(1000):
        with pytest.raises(Forbidden):
            keys.get(f"invented-{number}")
    assert published.reads == 1
    published.issuers.append(new)
    clock.now += MIN_REFRESH
    assert keys.get("new")
    assert published.reads == 2


def test_a_key_that_is_taken_back_stops_working() -> None:
    old, new, clock = Issuer("old"), Issuer("new"), Clock()
    published = Published(old)
    keys = Keys(published, clock=clock)
    assert keys.get("old")
    published.issuers = [new]
    clock.now += MAX_AGE + 1
    with pytest.raises(Forbidden):
        keys.get("old")


def test_the_last_good_set_outlives_an_outage() -> None:
    clock, published = Clock(), Published(Issuer("old"))
    keys = Keys(published, clock=clock)
    assert keys.get("old")
    published.issuers = []
    clock.now += MAX_AGE + 1
    assert keys.get("old")
    with pytest.raises(Forbidden):
        keys.get("other")


def test_threads_that_begin_together_read_once() -> None:
    published = Published(Issuer("key"))
    keys, begin = Keys(published), threading.Barrier(8)

    def ask() -> None:
        begin.wait()
        assert keys.get("key")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert published.reads == 1


def test_a_dangerous_set_is_refused_as_a_whole() -> None:
    good = Issuer("a").jwk()
    for keys in (
        [good, {"kty": "oct", "kid": "b", "k": "c2VjcmV0"}],
        [good, {**Issuer("a").jwk()}],
        [good, {"kid": "a", "kty": "RSA"}],
        [{**good, "kid": str(number)} for number in range(33)],
        ["text"],
        [],
    ):
        with pytest.raises(Forbidden):
            read_keys(json.dumps({"keys": keys}).encode())
    for text in (b"<html>", b"[]", b"{}", b'{"keys": {}}', b" " * 70_000 + b'{"keys": []}'):
        with pytest.raises(Forbidden):
            read_keys(text)


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"alg": "ES384"},
        {"alg": "HS256"},
        {"key_ops": ["sign"]},
        {"crv": "P-384"},
        {"kty": "RSA"},
        {"x": "AAAA"},
        {"d": "AAAA"},
        {"kid": 5},
    ],
)
def test_a_key_that_is_of_no_use_is_skipped(change: dict[str, Any]) -> None:
    good = Issuer("good").jwk()
    assert list(read_keys(document(good, {**Issuer("bad").jwk(), **change}))) == ["good"]


def test_a_token_under_a_rotated_key_is_good_at_once(issuer: Issuer, egress: Egress) -> None:
    verifier = Verifier(egress.url, keys=Keys(lambda: document(*egress.keys), min_refresh=0.0))
    assert visitor(issuer.headers(), verifier=verifier)
    rotated = Issuer("key-2")
    with pytest.raises(Forbidden):
        visitor(rotated.headers(), verifier=verifier)
    egress.keys.append(rotated.jwk())
    assert visitor(rotated.headers(), verifier=verifier).tenant == "acme"


def test_keys_and_expectations_are_read_once_for_many_requests(
    issuer: Issuer, egress: Egress, verifier: Verifier
) -> None:
    for _ in range(20):
        visitor(issuer.headers(), verifier=verifier)
    assert [r.path for r in egress.requests] == [
        "/.well-known/kyros-dashboard",
        "/.well-known/jwks.json",
    ]
    assert all("authorization" not in r.headers for r in egress.requests)


@pytest.mark.parametrize(
    "told", [{}, [], {"issuer": 1, "dashboard": "sales"}, {"issuer": "i", "dashboard": "a--b"}]
)
def test_a_sidecar_that_does_not_say_what_it_guards_lets_nobody_in(
    told: Any, issuer: Issuer, egress: Egress
) -> None:
    egress.expected = told
    with pytest.raises(Forbidden):
        visitor(issuer.headers(), verifier=Verifier(egress.url))
