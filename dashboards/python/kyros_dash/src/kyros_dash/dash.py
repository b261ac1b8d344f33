"""Dash: whose the running callback is, over HTTP and over Dash's WebSocket.

    app = Dash(__name__, backend="fastapi")
    protect(app)

    @app.callback(Output("title", "children"))
    def greet():
        return visitor().tenant

Dash gives callbacks the headers of an HTTP request, but not those of a WebSocket's handshake.
`protect` sees both before Dash does and keeps the visitor in a context variable, which every
callback that runs on the request's or the socket's behalf inherits. A socket's token is verified
once, at its handshake; data goes by the session for as long as the socket is open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

from kyros_dash import _headers
from kyros_dash._errors import ConfigurationError, Forbidden
from kyros_dash._verify import Verifier
from kyros_dash._visitor import Visitor
from kyros_dash._visitor import visitor as visitor_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# RFC 6455, section 7.4.1: the peer may not do this.
_POLICY_VIOLATION = 1008

_log = logging.getLogger("kyros_dash")
# Code that runs for nobody fails, it never falls back to a tenant.
_current: ContextVar[Visitor | None] = ContextVar("kyros_dash_visitor", default=None)


def visitor() -> Visitor:
    """Whose the running callback is; `Forbidden` where that is nobody."""
    who = _current.get()
    if who is None:
        raise Forbidden(
            "this does not run for anybody: call visitor() in a callback of an app that "
            "protect(app) was called for, and open it through the sidecar"
        )
    return who


def protect(app: Any, *, verifier: Verifier | None = None) -> None:  # noqa: ANN401, dash may be absent
    """Verify every request to a Dash app, whichever of Dash's backends it has.

    A request with the sidecar's headers is verified or refused with 403. One without any, such as
    a probe of the kubelet's, goes on for nobody: whatever asks for the visitor then fails.
    """
    server = app.server
    if hasattr(server, "add_middleware"):  # FastAPI.
        server.add_middleware(Visitors, verifier=verifier)
    elif hasattr(server, "asgi_app"):  # Quart.
        server.asgi_app = Visitors(server.asgi_app, verifier=verifier)
    elif hasattr(server, "before_request"):  # Flask.
        _protect_flask(server, verifier)
    else:
        raise ConfigurationError(f"{type(server).__name__} is no server that Dash is known to have")


class Visitors:
    """ASGI middleware: keeps the visitor of a request or a socket while the app answers it."""

    def __init__(self, app: App, verifier: Verifier | None = None) -> None:
        """Wrap an ASGI app."""
        self.app = app
        self.verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a doubtful request, and let a verified one through with its visitor."""
        headers = _asgi_headers(scope) if scope["type"] in ("http", "websocket") else None
        if headers is None or not _headers.has_any(headers):
            await self.app(scope, receive, send)
            return
        try:
            # It may have to fetch keys, for which other requests should not wait.
            who = await asyncio.to_thread(visitor_of, headers, verifier=self.verifier)
        except Forbidden as error:
            _log.warning("refused: %s", error)
            await _refuse(scope, receive, send)
            return
        before = _current.set(who)
        try:
            await self.app(scope, receive, send)
        finally:
            _current.reset(before)


def _asgi_headers(scope: Scope) -> dict[str, str]:
    """Headers of an ASGI scope; of one that is there twice both are kept, joined, and so fail."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Before it is accepted, this is an answer of 403 to the handshake.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    body = b"Forbidden"
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _protect_flask(server: Any, verifier: Verifier | None) -> None:  # noqa: ANN401, as above
    import flask

    @server.before_request  # type: ignore[untyped-decorator, unused-ignore]
    def verify() -> None:
        # A thread serves one request after the other: nothing of the last one is left.
        _current.set(None)
        if not _headers.has_any(flask.request.headers):
            return
        try:
            _current.set(visitor_of(flask.request.headers, verifier=verifier))
        except Forbidden as error:
            _log.warning("refused: %s", error)
            flask.abort(403)

    @server.teardown_request  # type: ignore[untyped-decorator, unused-ignore]
    def forget(_error: BaseException | None) -> None:
        _current.set(None)
