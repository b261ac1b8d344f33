"""Sales with Dash 4: HTTP callbacks, WebSocket callbacks and a live figure.

Dash itself knows nothing of Kyros. The sidecar in front says in headers whose request
it is; `protect` verifies them before Dash sees the request, and `visitor()` in a
callback is whoever the callback runs for. WebSocket callbacks need Dash's FastAPI (or
Quart) backend, and with it an ASGI server; `./serve` starts the first or the second of
these:

    uvicorn app:server --uds /run/dashboard/app.sock --forwarded-allow-ips '*'
    uvicorn app:server --host 127.0.0.1 --port 8061

The first is for KYROS_DASHBOARD_LISTEN=unix:/run/dashboard/app.sock, which the platform
gives where the Dashboard resource says `transport: Unix`. A Dash with HTTP callbacks
only can stay with Flask, its default, and with a WSGI server; `protect` works there too:

    gunicorn app:server --bind unix:/run/dashboard/app.sock --umask 007
"""

import asyncio
from datetime import datetime
from typing import Any

from dash import Dash, Input, Output, ctx, dcc, html, set_props
from kyros_dash import Data
from kyros_dash.dash import protect, visitor

DATASET = "transactions"
# Seconds between two looks at the data.
LIVE_EVERY = 1.0

app = Dash(__name__, backend="fastapi", title="Sales")
server = app.server
protect(app)

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


async def rows(**query: Any) -> list[dict[str, Any]]:
    """Rows of the visitor's tenant, without standing in the way of other callbacks."""
    return await asyncio.to_thread(Data(visitor()).rows, DATASET, **query)


def transport() -> str:
    """How the running callback was asked for."""
    return "HTTP" if ctx.websocket is None else "WebSocket"


@app.callback(Output("tenant", "children"), Output("person", "children"))
def greet() -> tuple[str, str | None]:
    """Whose page this is. A callback without inputs runs once per page."""
    who = visitor()
    return who.tenant, who.email


@app.callback(Output("chart", "figure"), Output("largest", "children"), Input("by", "value"))
async def draw(by: str) -> tuple[dict[str, Any], str]:
    """Revenue by a column: an ordinary callback, over HTTP."""
    groups = await rows(group_by=[by], aggregations=["revenue:sum"], order_by=["-revenue_sum"])
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
    customers = await rows(aggregations={"n": ("customer_id", "count_distinct")})
    return f"{customers[0]['n']} customers (asked over {transport()})"


@app.callback(websocket=True, persistent=True)
async def live() -> None:
    """Runs for as long as the page's socket is open, and sends what is new.

    When the session ends, the sidecar closes the socket and Dash cancels this.
    """
    who = visitor()
    while True:
        total = (await rows(aggregations=["*:count"]))[0]
        line = f"{total['count']} orders at {datetime.now():%H:%M:%S} for {who.tenant}"
        set_props("live", {"children": line})
        await asyncio.sleep(LIVE_EVERY)
