"""Sales with marimo: a choice, a chart and a live line, for many tenants.

`marimo run` gives every page a run of its own, whose request is that of the page's latest
question. Where the visitor is asked for at every run of a cell, the token is a fresh one.
"""

import marimo

app = marimo.App(app_title="Sales")


@app.cell
def _():
    from datetime import datetime

    import altair
    import marimo as mo
    from kyros_dash import Data, visitor

    DATASET = "transactions"
    # How often the live line looks at the data.
    LIVE_EVERY = "1s"
    return DATASET, Data, LIVE_EVERY, altair, datetime, mo, visitor


@app.cell
def _(Data, mo, visitor):
    who = visitor(mo.app_meta().request.headers)
    data = Data(who)
    mo.vstack([mo.md("# Sales"), mo.plain_text(f"{who.tenant} for {who.email}")])
    return data, who


@app.cell
def _(LIVE_EVERY, mo):
    refresh = mo.ui.refresh(default_interval=LIVE_EVERY)
    by = mo.ui.radio(["channel", "country"], value="channel", label="Revenue by", inline=True)
    mo.vstack([refresh, by])
    return by, refresh


@app.cell
def _(DATASET, data, datetime, mo, refresh, who):
    refresh
    total = data.rows(DATASET, aggregations=["*:count"])[0]["count"]
    mo.plain_text(f"{total} orders at {datetime.now():%H:%M:%S} for {who.tenant}")
    return


@app.cell
def _(DATASET, altair, by, data, mo):
    groups = data.polars(
        DATASET, group_by=[by.value], aggregations=["revenue:sum"], order_by=["-revenue_sum"]
    )
    chart = altair.Chart(groups).mark_bar().encode(x=f"{by.value}:N", y="revenue_sum:Q")
    largest = (
        "There are no rows"
        if groups.is_empty()
        else f"{groups[by.value][0]} is the largest {by.value}"
    )
    mo.vstack([mo.plain_text(largest), chart])
    return


if __name__ == "__main__":
    app.run()
