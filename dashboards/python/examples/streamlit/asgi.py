"""The same app for servers that have Unix sockets; `streamlit run` has none."""

import streamlit as st

app = st.App("app.py")
