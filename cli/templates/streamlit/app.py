"""__TITLE__ with Streamlit, for many tenants.

Streamlit itself knows nothing of Kyros. The sidecar in front says whose page it is, and
`kyros_dash` (copied beside this file) verifies that and fetches that tenant's rows and no
other's. One process serves all tenants: keep nothing of a tenant in a module, in
`st.cache_resource`, or in `st.cache_data` without the tenant among the arguments.
"""

import streamlit as st
from kyros_dash import Data
from kyros_dash.streamlit import visitor

DATASET = "transactions"

who = visitor()
st.title("__TITLE__")
st.text(f"{who.tenant} for {who.email or who.subject}")

by = st.radio("Revenue by", ["channel", "country"], horizontal=True)
# The query names no tenant.
rows = Data(who).rows(
    DATASET, group_by=[by], aggregations=["revenue:sum"], order_by=["-revenue_sum"]
)
if rows:
    st.bar_chart(rows, x=by, y="revenue_sum")
else:
    st.text("There are no rows.")
