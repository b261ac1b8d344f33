"""Sales with Shiny: a choice, a chart and a live line, for many tenants.

`server` runs once per page, with the handshake of the page's socket; its headers stay what they
were then. So the visitor is known once, there, and stays for as long as the socket is open.
"""

from datetime import datetime

import matplotlib.pyplot as plt
import polars as pl
from kyros_dash import Data, visitor
from matplotlib.figure import Figure
from shiny import App, Inputs, Outputs, Session, reactive, render, ui

DATASET = "transactions"
# Seconds between two looks at the data.
LIVE_EVERY = 1.0

page = ui.page_fluid(
    ui.h1("Sales"),
    ui.output_text("person"),
    ui.output_text("live"),
    ui.input_radio_buttons("by", "Revenue by", ["channel", "country"], inline=True),
    ui.output_text("largest"),
    ui.output_plot("chart"),
    title="Sales",
)


def server(page_input: Inputs, _output: Outputs, session: Session) -> None:
    """One page."""
    who = visitor(session.http_conn.headers)
    data = Data(who)

    @render.text
    def person() -> str:
        return f"{who.tenant} for {who.email}"

    @render.text
    def live() -> str:
        reactive.invalidate_later(LIVE_EVERY)
        total = data.rows(DATASET, aggregations=["*:count"])[0]["count"]
        return f"{total} orders at {datetime.now():%H:%M:%S} for {who.tenant}"

    @reactive.calc
    def groups() -> pl.DataFrame:
        return data.polars(
            DATASET,
            group_by=[page_input.by()],
            aggregations=["revenue:sum"],
            order_by=["-revenue_sum"],
        )

    @render.text
    def largest() -> str:
        by = page_input.by()
        return (
            "There are no rows" if groups().is_empty() else f"{groups()[by][0]} is the largest {by}"
        )

    @render.plot(alt="Revenue by the chosen column")
    def chart() -> Figure:
        figure, axes = plt.subplots()
        axes.bar(groups()[page_input.by()].to_list(), groups()["revenue_sum"].to_list())
        return figure


app = App(page, server)
