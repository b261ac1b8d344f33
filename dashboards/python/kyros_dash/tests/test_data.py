"""The data client: what it sends, what it makes of answers, and that visitors stay apart."""

from __future__ import annotations

import io
import threading
import time
from datetime import date
from typing import Any

import pandas
import polars
import pyarrow
import pytest
from conftest import Answer, Egress, Issuer, Request
from pyarrow import ipc

from kyros_dash import (
    Data,
    InvalidQuery,
    NotFound,
    SessionEnded,
    TooManyRequests,
    TooManyRows,
    Unavailable,
    Verifier,
    Visitor,
    visitor,
)

TABLE = pyarrow.table({"channel": ["Shop", "Phone"], "revenue_sum": [120.0, 20.5]})


def arrow(table: pyarrow.Table = TABLE) -> bytes:
    stream = io.BytesIO()
    with ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def problem(status: int, code: str, **members: Any) -> Answer:
    document = {
        "type": f"urn:kyros:problem:{code}",
        "title": f"It is {code}",
        "status": status,
        "instance": "urn:kyros:decision:d1",
        **members,
    }
    return Answer(document, status, {"Content-Type": "application/problem+json"})


@pytest.fixture
def data(ana: Visitor, egress: Egress) -> Data:
    egress.requests.clear()
    return Data(ana, api_url=egress.url)


def test_rows_come_as_whatever_the_dashboard_works_with(data: Data, egress: Egress) -> None:
    egress.answer = lambda request: (
        Answer({"data": TABLE.to_pylist(), "meta": {}})
        if request.headers["accept"] == "application/json"
        else Answer(arrow())
    )
    assert data.arrow("transactions").equals(TABLE)
    frame = data.pandas("transactions")
    assert isinstance(frame, pandas.DataFrame)
    assert frame["revenue_sum"].sum() == 140.5
    columns = data.polars("transactions")
    assert isinstance(columns, polars.DataFrame)
    assert columns["channel"].to_list() == ["Shop", "Phone"]
    assert data.rows("transactions")[1] == {"channel": "Phone", "revenue_sum": 20.5}


def test_a_query_is_sent_as_the_api_takes_it(data: Data, egress: Egress, ana: Visitor) -> None:
    egress.answers = [Answer(arrow())]
    data.arrow(
        "transactions",
        where=[
            ("country", "in", ["Norway", "Chile"]),
            ("day", "ge", date(2026, 1, 5)),
            ("x", "not_null"),
        ],
        group_by=["channel", "day:month"],
        aggregations={"sales": ("revenue", "sum"), "orders": ("*", "count")},
        order_by=["-sales", "channel"],
        limit=5,
    )
    [request] = egress.requests
    assert (request.method, request.path) == ("POST", "/api/data/transactions/query")
    assert request.headers["accept"] == "application/vnd.apache.arrow.stream"
    assert request.headers["x-kyros-session"] == ana.session
    assert request.body == {
        "filter": {
            "and": [
                {"column": "country", "op": "in", "value": ["Norway", "Chile"]},
                {"column": "day", "op": "ge", "value": "2026-01-05"},
                {"column": "x", "op": "not_null"},
            ]
        },
        "group_by": [{"column": "channel"}, {"column": "day", "every": "month"}],
        "agg": [
            {"column": "revenue", "fn": "sum", "as": "sales"},
            {"column": "*", "fn": "count", "as": "orders"},
        ],
        "sort": [{"column": "sales", "desc": True}, {"column": "channel"}],
        "limit": 5,
    }


def test_short_forms_and_the_apis_own_filter(data: Data, egress: Egress) -> None:
    egress.answers = [Answer(arrow()), Answer(arrow())]
    nested = {
        "or": [{"column": "a", "op": "eq", "value": 1}, {"not": {"column": "b", "op": "is_null"}}]
    }
    data.arrow("transactions", columns=["a", "b"], where=nested)
    data.arrow("transactions", aggregations=["revenue:sum", "*:count"], where=[("a", "eq", 1)])
    plain, figures = (request.body for request in egress.requests)
    assert plain == {"select": ["a", "b"], "filter": nested, "limit": 1_000_000}
    assert figures == {
        "agg": [{"column": "revenue", "fn": "sum"}, {"column": "*", "fn": "count"}],
        "filter": {"column": "a", "op": "eq", "value": 1},
        "limit": 1_000_000,
    }


@pytest.mark.parametrize(
    "query",
    [
        {"columns": "channel"},
        {"group_by": "channel"},
        {"order_by": "-channel"},
        {"where": "country"},
        {"where": [("country",)]},
        {"aggregations": "revenue:sum"},
        {"aggregations": ["revenue"]},
    ],
)
def test_a_query_that_cannot_be_meant_is_not_sent(
    query: dict[str, Any], data: Data, egress: Egress
) -> None:
    with pytest.raises(InvalidQuery):
        data.arrow("transactions", **query)
    assert egress.requests == []


def test_a_datasets_name_cannot_leave_its_place(data: Data, egress: Egress) -> None:
    egress.answers = [problem(404, "not-found")]
    with pytest.raises(NotFound):
        data.schema("../tenant?x=")
    assert egress.requests[0].path == "/api/data/..%2Ftenant%3Fx%3D/schema"


def test_what_there_is_can_be_asked(data: Data, egress: Egress) -> None:
    egress.answers = [
        Answer([{"name": "transactions", "available": True}]),
        Answer({"dataset": "transactions", "rows": 2, "columns": []}),
    ]
    assert data.datasets() == [{"name": "transactions", "available": True}]
    assert data.schema("transactions")["rows"] == 2
    assert [r.path for r in egress.requests] == ["/api/data", "/api/data/transactions/schema"]


def test_half_an_answer_is_never_taken_for_a_whole_one(data: Data, egress: Egress) -> None:
    egress.answer = lambda _: Answer(arrow(), headers={"Kyros-Next-Cursor": "c"})
    with pytest.raises(TooManyRows, match="aggregate"):
        data.arrow("transactions")
    # Whoever says how many wants no more.
    assert data.arrow("transactions", limit=2).num_rows == 2


@pytest.mark.parametrize(
    ("status", "kind", "hint"),
    [
        (401, SessionEnded, "sign in again"),
        (404, NotFound, "datasets"),
        (400, InvalidQuery, "schema"),
        (422, InvalidQuery, "schema"),
        (500, Unavailable, "moment"),
        (503, Unavailable, "moment"),
        (504, Unavailable, "moment"),
    ],
)
def test_a_problem_is_an_error_that_says_what_to_do(
    status: int, kind: type[Exception], hint: str, data: Data, egress: Egress
) -> None:
    mistake = {
        "pointer": "/select/0",
        "code": "unknown-column",
        "detail": "there is no such column",
    }
    egress.answers = [problem(status, "code", detail="A detail.", errors=[mistake])]
    with pytest.raises(kind) as raised:
        data.arrow("transactions", columns=["nothing"])
    error = raised.value
    assert (error.status, error.code, error.decision) == (status, "code", "d1")  # type: ignore[attr-defined]
    for part in ("It is code", "A detail", "/select/0: there is no such column", hint, "d1"):
        assert part in str(error)


def test_an_answer_that_is_no_problem_document_is_an_error_too(data: Data, egress: Egress) -> None:
    egress.answers = [
        Answer(b"<html>", 502),
        Answer(b"[]", 302, {"Location": "http://evil.example"}),
    ]
    with pytest.raises(Unavailable, match="502"):
        data.arrow("transactions")
    with pytest.raises(Exception, match="302"):
        data.arrow("transactions")


def test_too_many_requests_are_waited_for_once(data: Data, egress: Egress) -> None:
    busy = problem(429, "too-many-requests")
    busy.headers["Retry-After"] = "0.2"
    egress.answers = [busy, Answer(arrow())]
    began = time.monotonic()
    assert data.arrow("transactions").num_rows == 2
    assert time.monotonic() - began >= 0.2
    egress.answers = [busy, busy, Answer(arrow())]
    with pytest.raises(TooManyRequests) as raised:
        data.arrow("transactions")
    assert raised.value.retry_after == 0.2
    assert len(egress.answers) == 1


def test_a_wait_that_is_too_long_is_not_waited_for(data: Data, egress: Egress) -> None:
    egress.answers = [problem(429, "too-many-requests")]
    egress.answers[0].headers["Retry-After"] = "60"
    began = time.monotonic()
    with pytest.raises(TooManyRequests):
        data.arrow("transactions")
    assert time.monotonic() - began < 5


def test_an_answer_that_does_not_come_is_given_up(ana: Visitor, egress: Egress) -> None:
    egress.answers = [Answer(arrow(), delay=1.0)]
    with pytest.raises(Unavailable, match=r"0\.2 s"):
        Data(ana, api_url=egress.url, timeout=0.2).arrow("transactions")


def test_a_sidecar_that_is_not_there_is_said_to_be_missing(ana: Visitor) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        Data(ana, api_url="http://127.0.0.1:9").arrow("transactions")


def test_no_proxy_is_asked_for_the_sidecar(
    data: Data, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kyros_dash import _egress

    monkeypatch.setattr(_egress, "_clients", {})
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    egress.answers = [Answer(arrow())]
    assert data.arrow("transactions").num_rows == 2
    _egress.client().close()


def test_two_visitors_at_once_do_not_mix(
    issuer: Issuer, verifier: Verifier, egress: Egress
) -> None:
    def answer(request: Request) -> Answer:
        # A cookie, as a load balancer between would set one, for whoever asks.
        tenant = request.headers["x-kyros-session"].removeprefix("session-of-")
        table = pyarrow.table({"tenant": [tenant]})
        return Answer(arrow(table), headers={"Set-Cookie": f"whose={tenant}; Path=/"})

    egress.answer = answer
    seen: list[tuple[str, str]] = []

    def ask(tenant: str) -> None:
        data = Data(visitor(issuer.headers(tenant), verifier=verifier), api_url=egress.url)
        for _ in range(25):
            seen.append((tenant, data.arrow("transactions")["tenant"][0].as_py()))

    threads = [threading.Thread(target=ask, args=(t,)) for t in ("acme", "globex") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 200
    assert all(asked == answered for asked, answered in seen)
    asked = egress.asked("/api/data")
    assert not any("cookie" in request.headers for request in asked), "a cookie went along"
    for request in asked:
        token = request.headers["authorization"].removeprefix("Bearer ")
        session = verifier.claims(token)["sid"]
        assert session == request.headers["x-kyros-session"]
