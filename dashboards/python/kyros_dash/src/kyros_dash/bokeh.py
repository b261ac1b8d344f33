"""Bokeh and Panel: whose page this is, from the request itself and not from the page's token.

    who = visitor()
    curdoc().add_root(Div(text=who.tenant))

A Bokeh server writes the headers of a page's request into a token, sends that to the browser, and
takes them from there again when the page's socket comes. So what `session_context.request.headers`
and `pn.state.headers` say can be read, and written, by the browser. This reads the headers that
came with the request; start the server so that the token holds none of them:

    bokeh serve app.py --include-headers Host       (panel serve likewise)
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

from bokeh.io import curdoc

from kyros_dash import _headers
from kyros_dash._errors import ConfigurationError, Forbidden
from kyros_dash._page import visitor_of_page
from kyros_dash._verify import Verifier
from kyros_dash._visitor import Visitor

# What was verified for a page, for as long as the page is there.
_pages: MutableMapping[Any, dict[str, Any]] = WeakKeyDictionary()


def visitor(document: Any = None, *, verifier: Verifier | None = None) -> Visitor:  # noqa: ANN401, bokeh may be absent
    """Whose page this is; `Forbidden` where that is not certain.

    `document` is the page's, where it is asked for in a thread that has none of its own.
    """
    context = (document or curdoc()).session_context
    if context is None or context.request is None:
        raise Forbidden("this does not run for a page: call visitor() in the app's script")
    _refuse_leak(context.token_payload)
    # Bokeh hands the request out with the token's headers in place of its own.
    request = getattr(context.request, "_request", None)
    if request is None:
        raise ConfigurationError("this version of Bokeh keeps a page's request elsewhere")
    return visitor_of_page(request.headers, _pages.setdefault(context, {}), verifier=verifier)


def _refuse_leak(payload: MutableMapping[str, Any]) -> None:
    """Stop where the page would carry the tenant token into the browser."""
    sent = {name.lower() for name in payload.get("headers", {})}
    if sent & {_headers.AUTHORIZATION, _headers.SESSION}:
        raise ConfigurationError(
            "Bokeh would send the visitor's token to the browser: "
            "start the server with --include-headers Host"
        )
