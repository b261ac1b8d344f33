"""Sales with Dash 4: HTTP callbacks, WebSocket callbacks and a live figure.

Dash itself knows nothing of Kyros. The sidecar in front says in headers whose request
it is, and the same headers, passed on to the data API, fetch that tenant's rows and no
other's. WebSocket callbacks need Dash's FastAPI (or Quart) backend, and with it an ASGI
server; `./serve` starts the first or the second of these:

    uvicorn app:server --uds /run/dashboard/app.sock --forwarded-allow-ips '*'
    uvicorn app:server --host 127.0.0.1 --port 8061

The first is for KYROS_DASHBOARD_LISTEN=unix:/run/dashboard/app.sock, which the platform
gives where the Dashboard resource says `transport: Unix`. A Dash with HTTP callbacks
only can stay with Flask, its default, and with a WSGI server:

    gunicorn app:server --bind unix:/run/dashboard/app.sock --umask 007
"""

import asyncio
import os
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
from dash import Dash, Input, Output, ctx, dcc, html, set_props
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

DATASET = "transactions"
# Seconds between two looks at the data.
LIVE_EVERY = 1.0


@dataclass(frozen=True)
class Visitor:
    """Whose request this is, and what shows it to the data API."""

    tenant: str
    email: str
    credentials: dict[str, str]


# No default: code that runs for nobody fails, it never falls back to a tenant.
visitor: ContextVar[Visitor] = ContextVar("visitor")


class Visitors:
    """Keeps whose a request or a socket is, for every callback that runs on its behalf.

    Dash gives callbacks the headers of an HTTP request, but not those of a WebSocket's
    handshake. This gives both.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        of_somebody = scope["type"] in ("http", "websocket")
        headers = Headers(scope=scope) if of_somebody else Headers()
        if "x-kyros-tenant" not in headers:  # A probe, or the start of the server.
            return await self.app(scope, receive, send)
        # The session outlives the five minutes of the token, so a socket can ask for
        # data for as long as it is open.
        names = ("x-kyros-session", "authorization")
        who = Visitor(
            tenant=headers["x-kyros-tenant"],
            email=headers.get("x-kyros-email", ""),
            credentials={name: headers[name] for name in names if name in headers},
        )
        before = visitor.set(who)
        try:
            await self.app(scope, receive, send)
        finally:
            visitor.reset(before)


# One client serves all tenants: it keeps no cookie of one answer for the next request.
data_api = httpx.AsyncClient(
    base_url=os.environ["KYROS_API_URL"],
    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    timeout=30,
)


async def rows(**query: str) -> list[dict[str, Any]]:
    """Rows of the visitor's tenant. The query names no tenant: the credentials do."""
    answer = await data_api.get(
        f"/api/data/{DATASET}", params=query, headers=visitor.get().credentials
    )
    answer.raise_for_status()
    return answer.json()["data"]


app = Dash(__name__, backend="fastapi", title="Sales")
server = app.server
server.add_middleware(Visitors)

# The same for everybody, because Dash makes it before there is anybody.
app.layout = html.Main(
    [
        html.H1("Sales"),
        html.P([html.B(id="tenant"), " for ", html.Span(id="person")]),
        html.P(id="live"),
        dcc.RadioItems(["channel", "country"], "channel", id="by", inline=True),
        html.P(id="largest"),
        dcc.Graph(id="chart"),
        html.Button("Count customers", id="count"),
        html.P(id="customers"),
    ]
)


def transport() -> str:
    """How the running callback was asked for."""
    return "HTTP" if ctx.websocket is None else "WebSocket"


@app.callback(Output("tenant", "children"), Output("person", "children"))
def greet() -> tuple[str, str]:
    """Whose page this is. A callback without inputs runs once per page."""
    who = visitor.get()
    return who.tenant, who.email


@app.callback(
    Output("chart", "figure"), Output("largest", "children"), Input("by", "value")
)
async def draw(by: str) -> tuple[dict[str, Any], str]:
    """Revenue by a column: an ordinary callback, over HTTP."""
    groups = await rows(group_by=by, agg="revenue:sum", sort="-revenue_sum")
    bars = {
        "type": "bar",
        "x": [group[by] for group in groups],
        "y": [group["revenue_sum"] for group in groups],
    }
    largest = f"{groups[0][by]} is the largest {by}" if groups else "There are no rows"
    return {"data": [bars]}, f"{largest} (asked over {transport()})"


@app.callback(
    Output("customers", "children"),
    Input("count", "n_clicks"),
    prevent_initial_call=True,
    websocket=True,
)
async def count(_clicks: int) -> str:
    """An answer over the socket, where a long one could be sent piece by piece."""
    customers = await rows(group_by="customer_id", agg="*:count", limit="50000")
    return f"{len(customers)} customers (asked over {transport()})"


@app.callback(websocket=True, persistent=True)
async def live() -> None:
    """Runs for as long as the page's socket is open, and sends what is new.

    When the session ends, the sidecar closes the socket and Dash cancels this.
    """
    who = visitor.get()
    while True:
        total = (await rows(agg="*:count"))[0]
        line = f"{total['count']} orders at {datetime.now():%H:%M:%S} for {who.tenant}"
        set_props("live", {"children": line})
        await asyncio.sleep(LIVE_EVERY)
