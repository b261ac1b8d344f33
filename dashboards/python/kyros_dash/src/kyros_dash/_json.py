"""JSON objects read strictly: a repeated member is an error, not a choice between two."""

from __future__ import annotations

import json
from typing import Any

from kyros_dash._errors import Forbidden


def parse_object(text: bytes) -> dict[str, Any]:
    """Read one object, whose members and their members' members are each there once."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Forbidden("not JSON, or a member that is there twice") from error
    if not isinstance(value, dict):
        raise Forbidden("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("repeated member")
    return members
