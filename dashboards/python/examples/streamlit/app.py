"""Sales with Streamlit: a control and a live figure, for many tenants.

Streamlit itself knows nothing of Kyros. The sidecar in front says in headers whose page
it is, and the same headers, passed on to the data API, fetch that tenant's rows and no
other's. Streamlit answers everything over one WebSocket; `st.context.headers` are those
of its handshake. `./serve` starts

    streamlit run app.py --server.address 127.0.0.1 --server.port 8062

`streamlit run` has no Unix socket. For KYROS_DASHBOARD_LISTEN=unix:..., which the
platform gives where the Dashboard resource says `transport: Unix`, `./serve` gives the
same script to a server that has one (asgi.py):

    uvicorn asgi:app --uds /run/dashboard/app.sock --forwarded-allow-ips '*'

One process serves all tenants. So nothing of a tenant may be kept in a module, in
`st.cache_resource`, or in `st.cache_data` without the tenant among the arguments;
`st.session_state` belongs to one page and is safe.
"""

import os
from datetime import datetime
from typing import Any

import requests
import streamlit as st

DATASET = "transactions"
# Seconds between two looks at the data.
LIVE_EVERY = 1.0


def rows(**query: str) -> list[dict[str, Any]]:
    """Rows of the visitor's tenant. The query names no tenant: the credentials do."""
    # The session outlives the five minutes of the token, so a page can ask for data for
    # as long as it is open, although its headers stay those of the handshake.
    headers = st.context.headers
    names = ("X-Kyros-Session", "Authorization")
    answer = requests.get(
        f"{os.environ['KYROS_API_URL']}/api/data/{DATASET}",
        params=query,
        headers={name: headers[name] for name in names if name in headers},
        timeout=30,
    )
    answer.raise_for_status()
    return answer.json()["data"]


@st.fragment(run_every=LIVE_EVERY)
def live() -> None:
    """Runs again and again for as long as the page's socket is open."""
    total = rows(agg="*:count")[0]
    st.text(f"{total['count']} orders at {datetime.now():%H:%M:%S} for {tenant}")


# No default: without a tenant this fails, it never falls back to one.
tenant = st.context.headers["X-Kyros-Tenant"]
person = st.context.headers.get("X-Kyros-Email", "")

st.title("Sales")
st.text(f"{tenant} for {person}")
live()
by = st.radio("Revenue by", ["channel", "country"], horizontal=True)
groups = rows(group_by=by, agg="revenue:sum", sort="-revenue_sum")
if groups:
    st.text(f"{groups[0][by]} is the largest {by}")
    st.bar_chart(groups, x=by, y="revenue_sum")
else:
    st.text("There are no rows")
