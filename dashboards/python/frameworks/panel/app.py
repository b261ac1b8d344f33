"""Sales with Panel: a choice, a chart and a live line, for many tenants.

The script runs once per page, with the request that asked for it; callbacks run on the page's
socket for as long as that is open. So the visitor is known once, here, and stays.
"""

from datetime import datetime

import panel as pn
from bokeh.plotting import figure
from kyros_dash import Data
from kyros_dash.bokeh import visitor

DATASET = "transactions"
# Milliseconds between two looks at the data.
LIVE_EVERY = 1000

pn.extension()

who = visitor()
data = Data(who)
line = pn.pane.Str()
by = pn.widgets.RadioBoxGroup(options=["channel", "country"], inline=True)


def live() -> None:
    """What is new."""
    total = data.rows(DATASET, aggregations=["*:count"])[0]["count"]
    line.object = f"{total} orders at {datetime.now():%H:%M:%S} for {who.tenant}"


def draw(by: str) -> pn.Column:
    """Revenue by a column."""
    groups = data.pandas(
        DATASET, group_by=[by], aggregations=["revenue:sum"], order_by=["-revenue_sum"]
    )
    if groups.empty:
        return pn.Column(pn.pane.Str("There are no rows"))
    chart = figure(x_range=list(groups[by]), height=250, toolbar_location=None)
    chart.vbar(x=by, top="revenue_sum", width=0.8, source=groups)
    return pn.Column(pn.pane.Str(f"{groups[by].iloc[0]} is the largest {by}"), chart)


live()
pn.state.add_periodic_callback(live, LIVE_EVERY)
pn.Column(
    "# Sales", pn.pane.Str(f"{who.tenant} for {who.email}"), line, by, pn.bind(draw, by)
).servable(title="Sales")
