"""Streamlit: whose page this is, for as long as the page is open.

    who = visitor()
    st.title(who.tenant)

A page lives on one WebSocket, and `st.context.headers` are those of its handshake: after five
minutes the token in them has ended, while the person still clicks. So it is verified at the first
run, and what it said is kept in `st.session_state`, which belongs to one page.
"""

from __future__ import annotations

import streamlit as st

from kyros_dash._page import visitor_of_page
from kyros_dash._verify import Verifier
from kyros_dash._visitor import Visitor


def visitor(*, verifier: Verifier | None = None) -> Visitor:
    """Whose page this is; `Forbidden` where that is not certain."""
    return visitor_of_page(st.context.headers, st.session_state, verifier=verifier)
