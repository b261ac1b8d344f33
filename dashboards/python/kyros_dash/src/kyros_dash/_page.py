"""A visitor who is kept with a page's state, for frameworks that read frozen headers again.

What was verified at the handshake stays for that handshake's headers, although the token in them
ends. Other headers are verified anew, and must be the same person's in the same tenant, because
the page's state is theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from typing import Any

from kyros_dash import _headers
from kyros_dash._errors import Forbidden
from kyros_dash._verify import Verifier
from kyros_dash._visitor import Visitor, visitor

_KEY = "_kyros_dash_visitor"


def visitor_of_page(
    headers: _headers.Headers,
    state: MutableMapping[Any, Any],
    *,
    verifier: Verifier | None = None,
) -> Visitor:
    """Give the visitor of a page whose own state, and nobody else's, is `state`."""
    injected = _headers.injected(headers)
    # A page keeps the digest of what it was verified with: a token should not lie about.
    shown = hashlib.sha256(repr(sorted(injected.items())).encode()).hexdigest()
    kept: tuple[str, Visitor] | None = state.get(_KEY)
    if kept is not None and kept[0] == shown:
        return kept[1]
    who = visitor(headers, verifier=verifier)
    if kept is not None and not _is_same(kept[1], who):
        raise Forbidden("the page was opened by somebody else: reload it")
    state[_KEY] = (shown, who)
    return who


def _is_same(one: Visitor, other: Visitor) -> bool:
    """Whether both are one person in one tenant; the sessions may differ."""

    def key(who: Visitor) -> tuple[str, str | None, str, str]:
        return who.tenant, who.tenant_uid, who.dashboard, who.subject

    return key(one) == key(other)
