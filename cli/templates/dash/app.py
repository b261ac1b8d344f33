"""__TITLE__ with Dash, for many tenants.

Dash itself knows nothing of Kyros. The sidecar in front says whose request it is, and
`kyros_dash` (copied beside this file) verifies that and fetches that tenant's rows and no
other's. One process serves all tenants: keep nothing of a tenant in a module.
"""

import os
from typing import Any

from dash import Dash, Input, Output, dcc, html
from kyros_dash import Data
from kyros_dash.dash import protect, visitor

DATASET = "transactions"

app = Dash(__name__, title="__TITLE__")
protect(app)
# What `gunicorn app:server` serves.
server = app.server

# The same for everybody: it is made before there is anybody.
app.layout = html.Main(
    [
        html.H1("__TITLE__"),
        html.P([html.B(id="tenant"), " for ", html.Span(id="person")]),
        dcc.RadioItems(["channel", "country"], "channel", id="by", inline=True),
        dcc.Graph(id="chart"),
    ]
)


@app.callback(Output("tenant", "children"), Output("person", "children"), Input("by", "id"))
def greet(_: str) -> tuple[str, str]:
    """Whose page this is."""
    who = visitor()
    return who.tenant, who.email or who.subject


@app.callback(Output("chart", "figure"), Input("by", "value"))
def draw(by: str) -> dict[str, Any]:
    """Revenue by a column, of the visitor's tenant. The query names no tenant."""
    rows = Data(visitor()).rows(
        DATASET, group_by=[by], aggregations=["revenue:sum"], order_by=["-revenue_sum"]
    )
    bars = {"type": "bar", "x": [row[by] for row in rows], "y": [row["revenue_sum"] for row in rows]}
    return {"data": [bars], "layout": {"title": {"text": f"Revenue by {by}"}}}


if __name__ == "__main__":
    host, port = os.environ.get("KYROS_DASHBOARD_LISTEN", "127.0.0.1:8050").rsplit(":", 1)
    app.run(host=host, port=port)
