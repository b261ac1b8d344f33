"""Sales with Bokeh: a choice, a chart and a live line, for many tenants.

The script runs once per page, with the request that asked for it; callbacks run on the page's
socket for as long as that is open. So the visitor is known once, here, and stays.
"""

from datetime import datetime

from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Div, FactorRange, RadioGroup
from bokeh.plotting import figure
from kyros_dash import Data
from kyros_dash.bokeh import visitor

DATASET = "transactions"
COLUMNS = ["channel", "country"]
# Milliseconds between two looks at the data.
LIVE_EVERY = 1000

who = visitor()
data = Data(who)
source = ColumnDataSource({"group": [], "revenue_sum": []})
chart = figure(x_range=FactorRange(), height=250, toolbar_location=None)
chart.vbar(x="group", top="revenue_sum", width=0.8, source=source)
# A Div shows HTML unless it is told not to.
heading = Div(text="Sales", disable_math=True, render_as_text=True)
person = Div(text=f"{who.tenant} for {who.email}", render_as_text=True)
line = Div(text="", render_as_text=True)
largest = Div(text="", render_as_text=True)
by = RadioGroup(labels=COLUMNS, active=0)


def live() -> None:
    """What is new."""
    total = data.rows(DATASET, aggregations=["*:count"])[0]["count"]
    line.text = f"{total} orders at {datetime.now():%H:%M:%S} for {who.tenant}"


def draw(name: str) -> None:
    """Revenue by a column."""
    groups = data.pandas(
        DATASET, group_by=[name], aggregations=["revenue:sum"], order_by=["-revenue_sum"]
    )
    chart.x_range.factors = list(groups[name])
    source.data = {"group": list(groups[name]), "revenue_sum": list(groups["revenue_sum"])}
    is_empty = groups.empty
    largest.text = (
        "There are no rows" if is_empty else f"{groups[name].iloc[0]} is the largest {name}"
    )


by.on_change("active", lambda _name, _old, new: draw(COLUMNS[new]))
live()
draw(COLUMNS[0])
curdoc().add_periodic_callback(live, LIVE_EVERY)
curdoc().title = "Sales"
curdoc().add_root(column(heading, person, line, by, largest, chart))
