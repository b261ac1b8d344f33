"""Dash: callbacks know whose they are, over HTTP and over sockets, and doubt reaches none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import MutableMapping
from typing import Any

import flask
import pytest
from conftest import Issuer

from kyros_dash import ConfigurationError, Forbidden, Verifier
from kyros_dash.dash import Visitors, protect, visitor

Message = MutableMapping[str, Any]


class Dash:
    """A Dash app as far as `protect` sees one."""

    def __init__(self, server: Any) -> None:
        self.server = server


def scope(kind: str, headers: dict[str, str]) -> dict[str, Any]:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "path": "/", "headers": raw}


async def ask(app: Visitors, kind: str, headers: dict[str, str]) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": f"{kind}.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope(kind, headers), receive, send)
    return sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_callback_knows_whose_it_is(kind: str, issuer: Issuer, verifier: Verifier) -> None:
    seen: list[tuple[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tenant = visitor().tenant
        # Dash runs what is not async in a thread, and what is persistent in a task.
        await asyncio.sleep(0.01)
        seen.append((tenant, await asyncio.to_thread(lambda: visitor().tenant)))
        seen.append((tenant, await asyncio.create_task(later())))

    async def later() -> str:
        await asyncio.sleep(0.01)
        return visitor().tenant

    async def both() -> None:
        guarded = Visitors(app, verifier)
        tenants = ["acme", "globex"] * 20
        await asyncio.gather(*(ask(guarded, kind, issuer.headers(t)) for t in tenants))
        with pytest.raises(Forbidden):
            visitor()

    asyncio.run(both())
    assert len(seen) == 80
    assert all(before == after for before, after in seen)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_doubt_reaches_no_callback(kind: str, issuer: Issuer, verifier: Verifier) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("a callback ran")

    headers = {**issuer.headers(), "X-Kyros-Tenant": "globex"}
    first = asyncio.run(ask(Visitors(app, verifier), kind, headers))[0]
    if kind == "http":
        assert first["status"] == 403
    else:
        assert (first["type"], first["code"]) == ("websocket.close", 1008)


def test_a_probe_runs_for_nobody(verifier: Verifier) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(Forbidden, match="protect"):
            visitor()
        await send({"type": "http.response.start", "status": 200})

    sent = asyncio.run(ask(Visitors(app, verifier), "http", {"Host": "a"}))
    assert sent[0]["status"] == 200


def test_a_header_twice_is_doubt(issuer: Issuer, verifier: Verifier) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("a callback ran")

    twice = scope("http", issuer.headers())
    twice["headers"].append((b"x-kyros-tenant", b"acme"))
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    asyncio.run(Visitors(app, verifier)(twice, receive, send))
    assert sent[0]["status"] == 403


def test_flask_knows_too_and_forgets(issuer: Issuer, verifier: Verifier) -> None:
    server = flask.Flask("sales")
    protect(Dash(server), verifier=verifier)

    @server.get("/")
    def whose() -> str:
        return visitor().tenant

    @server.get("/probe")
    def probe() -> str:
        return "ok"

    @server.get("/broken")
    def broken() -> str:
        raise ValueError

    client = server.test_client()
    assert client.get("/", headers=issuer.headers()).text == "acme"
    assert client.get("/broken", headers=issuer.headers()).status_code == 500
    assert client.get("/probe").text == "ok"
    # Nobody's request does not inherit somebody's.
    assert client.get("/").status_code == 500
    doubtful = {**issuer.headers(), "X-Kyros-User": "ben"}
    assert client.get("/", headers=doubtful).status_code == 403

    answers: list[tuple[str, str]] = []

    def ask_often(tenant: str) -> None:
        for _ in range(20):
            answer = server.test_client().get("/", headers=issuer.headers(tenant))
            answers.append((tenant, answer.text))

    threads = [threading.Thread(target=ask_often, args=(t,)) for t in ("acme", "globex")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40
    assert all(asked == answered for asked, answered in answers)


def test_another_server_is_not_taken_for_protected() -> None:
    with pytest.raises(ConfigurationError):
        protect(Dash(object()))
