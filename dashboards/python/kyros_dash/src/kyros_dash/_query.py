"""Python's words for a query, turned into the body that the data API takes. Nothing is guessed.

columns=["order_date", "revenue"]
where=[("country", "eq", "Norway"), ("revenue", "ge", 10)]        all of these
where={"or": [{"column": "a", "op": "is_null"}, {"not": {...}}]}  the API's own form
group_by=["channel", "order_date:month"]
aggregations=["revenue:sum", "*:count"]                           named revenue_sum and count
aggregations={"sales": ("revenue", "sum")}                        named by you
order_by=["-revenue_sum", "channel"]                              a leading - is descending
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeAlias, TypedDict

from kyros_dash._errors import InvalidQuery

# A comparison: column, operation (`eq`, `in`, `between`, …), value; none for `is_null`.
Condition: TypeAlias = tuple[str, str] | tuple[str, str, Any]
# A condition as the API writes it, with `and`, `or`, `not`.
Filter: TypeAlias = Mapping[str, Any]
Where: TypeAlias = Filter | Sequence[Condition]
Aggregations: TypeAlias = Sequence[str] | Mapping[str, tuple[str, str]]

# The most rows of one answer.
MAX_ROWS = 1_000_000


class Question(TypedDict, total=False):
    """The keywords of a question; all may be left out. What each may hold stands above."""

    columns: Sequence[str] | None
    where: Where | None
    group_by: Sequence[str] | None
    aggregations: Aggregations | None
    order_by: Sequence[str] | None
    limit: int | None


def body(
    *,
    columns: Sequence[str] | None = None,
    where: Where | None = None,
    group_by: Sequence[str] | None = None,
    aggregations: Aggregations | None = None,
    order_by: Sequence[str] | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Give the query as the API takes it; what is not asked for is left out."""
    for name, value in (("columns", columns), ("group_by", group_by), ("order_by", order_by)):
        if isinstance(value, str):
            raise InvalidQuery(f"{name} is a list of names, and {value!r} is one text")
    query: dict[str, Any] = {"limit": MAX_ROWS if limit is None else limit}
    if columns is not None:
        query["select"] = list(columns)
    if where:
        query["filter"] = _filter(where)
    if group_by is not None:
        query["group_by"] = [_key(key) for key in group_by]
    if aggregations is not None:
        query["agg"] = _figures(aggregations)
    if order_by is not None:
        query["sort"] = [_order(key) for key in order_by]
    return query


def _filter(where: Where) -> dict[str, Any]:
    if isinstance(where, Mapping):
        return {name: _plain(value) for name, value in where.items()}
    if isinstance(where, str):
        raise InvalidQuery("where is a list of (column, operation, value)")
    conditions = [_condition(condition) for condition in where]
    return conditions[0] if len(conditions) == 1 else {"and": conditions}


def _condition(condition: Condition) -> dict[str, Any]:
    if isinstance(condition, str) or len(condition) not in (2, 3):
        raise InvalidQuery(f"{condition!r} is not (column, operation, value)")
    column, operation, *value = condition
    written = {"column": column, "op": operation}
    return written | {"value": _plain(value[0])} if value else written


def _plain(value: object) -> object:
    """Dates as the API writes them; lists, and numbers of other libraries, as JSON has them."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def _key(key: str) -> dict[str, str]:
    column, _, grain = key.partition(":")
    return {"column": column, "every": grain} if grain else {"column": column}


def _figures(aggregations: Aggregations) -> list[dict[str, str]]:
    if isinstance(aggregations, str):
        raise InvalidQuery(f'aggregations is a list such as ["revenue:sum"], not {aggregations!r}')
    if isinstance(aggregations, Mapping):
        return [{"column": c, "fn": fn, "as": name} for name, (c, fn) in aggregations.items()]
    figures = []
    for figure in aggregations:
        column, separator, function = figure.rpartition(":")
        if not separator:
            raise InvalidQuery(f'{figure!r} is not column:function, such as "revenue:sum"')
        figures.append({"column": column, "fn": function})
    return figures


def _order(key: str) -> dict[str, Any]:
    return {"column": key[1:], "desc": True} if key.startswith("-") else {"column": key}
