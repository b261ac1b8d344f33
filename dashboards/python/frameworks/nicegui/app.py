"""Sales with NiceGUI: a choice, a chart and a live line, for many tenants.

`page` runs once per page, with the request that asked for it; everything after that comes over
the page's socket. So the visitor is known once, there, and stays for as long as the page is open.
"""

import asyncio
import os
from datetime import datetime

from fastapi import Request
from kyros_dash import Data, visitor
from nicegui import ui

DATASET = "transactions"
# Seconds between two looks at the data.
LIVE_EVERY = 1.0


@ui.page("/", title="Sales")
async def page(request: Request) -> None:
    """One page."""
    who = await asyncio.to_thread(visitor, request.headers)
    data = Data(who)

    async def live() -> None:
        rows = await asyncio.to_thread(data.rows, DATASET, aggregations=["*:count"])
        line.text = f"{rows[0]['count']} orders at {datetime.now():%H:%M:%S} for {who.tenant}"

    async def draw() -> None:
        groups = await asyncio.to_thread(
            data.polars,
            DATASET,
            group_by=[by.value],
            aggregations=["revenue:sum"],
            order_by=["-revenue_sum"],
        )
        is_empty = groups.is_empty()
        largest.text = (
            "There are no rows" if is_empty else f"{groups[by.value][0]} is the largest {by.value}"
        )
        chart.options["xAxis"]["data"] = groups[by.value].to_list()
        chart.options["series"][0]["data"] = groups["revenue_sum"].to_list()
        chart.update()

    ui.label("Sales").classes("text-h4")
    ui.label(f"{who.tenant} for {who.email}")
    line = ui.label()
    by = ui.radio(["channel", "country"], value="channel", on_change=draw).props("inline")
    largest = ui.label()
    chart = ui.echart(
        {"xAxis": {"type": "category"}, "yAxis": {}, "series": [{"type": "bar", "data": []}]}
    )
    ui.timer(LIVE_EVERY, live)
    await draw()


host, _, port = os.environ.get("KYROS_DASHBOARD_LISTEN", "127.0.0.1:8068").rpartition(":")
ui.run(host=host, port=int(port), show=False, reload=False)
