"""Sales with Gradio: a choice, a chart and a live line, for many tenants.

Every event has its own request, so every event is verified; nothing is frozen at a handshake.
Nothing of a tenant is kept in a module or in a component's initial value, which are the same for
everybody.
"""

import os
from datetime import datetime

import gradio as gr
from kyros_dash import Data, visitor

DATASET = "transactions"
# Seconds between two looks at the data.
LIVE_EVERY = 1.0


def greet(request: gr.Request) -> str:
    """Whose page this is."""
    who = visitor(request.headers)
    return f"{who.tenant} for {who.email}"


def live(request: gr.Request) -> str:
    """What is new; a timer on the page asks for it."""
    who = visitor(request.headers)
    total = Data(who).rows(DATASET, aggregations=["*:count"])[0]["count"]
    return f"{total} orders at {datetime.now():%H:%M:%S} for {who.tenant}"


def draw(by: str, request: gr.Request) -> tuple[str, gr.BarPlot]:
    """Revenue by a column."""
    groups = Data(visitor(request.headers)).pandas(
        DATASET, group_by=[by], aggregations=["revenue:sum"], order_by=["-revenue_sum"]
    )
    largest = f"{groups[by].iloc[0]} is the largest {by}" if len(groups) else "There are no rows"
    return largest, gr.BarPlot(groups, x=by, y="revenue_sum", sort="-y")


with gr.Blocks(title="Sales", analytics_enabled=False) as app:
    gr.Markdown("# Sales")
    person = gr.Markdown()
    line = gr.Markdown()
    by = gr.Radio(["channel", "country"], value="channel", label="Revenue by")
    largest = gr.Markdown()
    chart = gr.BarPlot(x="channel", y="revenue_sum")
    # The line is replaced once a second: no sign of waiting over it.
    gr.Timer(LIVE_EVERY).tick(live, None, line, show_progress="hidden")
    app.load(greet, None, person)
    gr.on([app.load, by.change], draw, by, [largest, chart])

if __name__ == "__main__":
    host, _, port = os.environ.get("KYROS_DASHBOARD_LISTEN", "127.0.0.1:8063").rpartition(":")
    app.launch(server_name=host, server_port=int(port), footer_links=[])
