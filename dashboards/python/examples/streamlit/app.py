"""Sales with Streamlit: a control and a live figure, for many tenants.

Streamlit itself knows nothing of Kyros. The sidecar in front says in headers whose page
it is, and `visitor()` verifies them. Streamlit answers everything over one WebSocket;
`st.context.headers` are those of its handshake. `./serve` starts

    streamlit run app.py --server.address 127.0.0.1 --server.port 8062

`streamlit run` has no Unix socket. For KYROS_DASHBOARD_LISTEN=unix:..., which the
platform gives where the Dashboard resource says `transport: Unix`, `./serve` gives the
same script to a server that has one (asgi.py):

    uvicorn asgi:app --uds /run/dashboard/app.sock --forwarded-allow-ips '*'

One process serves all tenants. So nothing of a tenant may be kept in a module, in
`st.cache_resource`, or in `st.cache_data` without the tenant among the arguments;
`st.session_state` belongs to one page and is safe.
"""

from datetime import datetime

import streamlit as st
from kyros_dash import Data
from kyros_dash.streamlit import visitor

DATASET = "transactions"
# Seconds between two looks at the data.
LIVE_EVERY = 1.0


@st.fragment(run_every=LIVE_EVERY)
def live() -> None:
    """Runs again and again for as long as the page's socket is open."""
    total = data.rows(DATASET, aggregations=["*:count"])[0]
    st.text(f"{total['count']} orders at {datetime.now():%H:%M:%S} for {who.tenant}")


# Nobody's page fails here: there is no tenant to fall back to.
who = visitor()
data = Data(who)

st.title("Sales")
st.text(f"{who.tenant} for {who.email}")
live()
by = st.radio("Revenue by", ["channel", "country"], horizontal=True)
groups = data.pandas(
    DATASET, group_by=[by], aggregations=["revenue:sum"], order_by=["-revenue_sum"]
)
if groups.empty:
    st.text("There are no rows")
else:
    st.text(f"{groups[by].iloc[0]} is the largest {by}")
    st.bar_chart(groups, x=by, y="revenue_sum")
