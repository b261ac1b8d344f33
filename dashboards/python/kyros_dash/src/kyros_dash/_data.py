"""A tenant's rows as pandas, Polars or Arrow, asked for with the session of one visitor.

Every question carries its own visitor's session and nothing of anybody else's. It names no
tenant: the sidecar makes a fresh token of the session, and the API takes the tenant from that.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import quote

import httpx

from kyros_dash import _egress, _problem, _query
from kyros_dash._errors import ConfigurationError, TooManyRows, Unavailable

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from kyros_dash._query import Question
    from kyros_dash._visitor import Visitor

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
# Seconds. The API gives a query ten, and one that waits for its turn five more.
TIMEOUT = 30.0
# Seconds: a page should rather say that it is busy than stand still for longer.
MAX_WAIT = 10.0
# Says that there are more rows than the answer has.
_MORE = "kyros-next-cursor"


class Data:
    """The datasets of the visitor's tenant. Cheap: make one wherever there is a visitor."""

    def __init__(
        self, visitor: Visitor, *, api_url: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Ask at `KYROS_API_URL`, where no other address is given."""
        self._visitor = visitor
        self._egress = _egress.Egress(api_url)
        self._timeout = timeout

    def datasets(self) -> list[dict[str, Any]]:
        """Give the dashboard's datasets: `name`, and whether the tenant has it (`available`)."""
        found = self._ask("GET", "/api/data", accept=JSON).json()
        return [dict(dataset) for dataset in found]

    def schema(self, dataset: str) -> dict[str, Any]:
        """Give the columns, and which comparisons, figures and grains each of them has."""
        return dict(self._ask("GET", f"/api/data/{_segment(dataset)}/schema", accept=JSON).json())

    def arrow(self, dataset: str, **question: Unpack[Question]) -> pyarrow.Table:
        """Give rows as a `pyarrow.Table`; the keywords are those of `Question`.

        Without `limit` all of them, and `TooManyRows` where there are more than a million; with
        it the first ones.
        """
        ipc = _extra("pyarrow.ipc", "arrow")
        return ipc.open_stream(self._answer(dataset, question, ARROW).content).read_all()

    def pandas(self, dataset: str, **question: Unpack[Question]) -> pandas.DataFrame:
        """Give rows as a `pandas.DataFrame`; see `arrow`."""
        _extra("pandas", "pandas")
        table = self.arrow(dataset, **question)
        frame: pandas.DataFrame = table.to_pandas()
        return frame

    def polars(self, dataset: str, **question: Unpack[Question]) -> polars.DataFrame:
        """Give rows as a `polars.DataFrame`; see `arrow`."""
        library = _extra("polars", "polars")
        stream = io.BytesIO(self._answer(dataset, question, ARROW).content)
        frame: polars.DataFrame = library.read_ipc_stream(stream)
        return frame

    def rows(self, dataset: str, **question: Unpack[Question]) -> list[dict[str, Any]]:
        """Give rows as dictionaries, which needs no other package; for a few, not for many."""
        answer = self._answer(dataset, question, JSON)
        return [dict(row) for row in answer.json()["data"]]

    def _answer(self, dataset: str, question: Question, accept: str) -> httpx.Response:
        path = f"/api/data/{_segment(dataset)}/query"
        answer = self._ask("POST", path, accept=accept, json=_query.body(**question))
        if question.get("limit") is None and _MORE in answer.headers:
            raise TooManyRows(f"{dataset} has more than {_query.MAX_ROWS:,} rows for this query")
        return answer

    def _ask(
        self, method: str, path: str, *, accept: str, json: dict[str, Any] | None = None
    ) -> httpx.Response:
        """Ask once, and once more where the API says when to come again."""
        answer = self._send(method, path, accept, json)
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            wait = _problem.retry_after(answer)
            if wait <= MAX_WAIT:
                time.sleep(wait)
                answer = self._send(method, path, accept, json)
        if answer.status_code != httpx.codes.OK:
            raise _problem.error_of(answer)
        return answer

    def _send(
        self, method: str, path: str, accept: str, json: dict[str, Any] | None
    ) -> httpx.Response:
        headers = {
            "Accept": accept,
            "Authorization": self._visitor.authorization,
            "X-Kyros-Session": self._visitor.session,
        }
        url = f"{self._egress.url}{path}"
        try:
            return _egress.client().request(
                method, url, headers=headers, json=json, timeout=self._timeout
            )
        except httpx.TimeoutException as error:
            raise Unavailable(f"No answer within {self._timeout:g} s", code="timeout") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"{url} cannot be reached ({error})", code="unreachable") from error


def _segment(dataset: str) -> str:
    """Give a dataset's name as one part of a path, whatever is in it."""
    return quote(dataset, safe="")


def _extra(module: str, extra: str) -> Any:  # noqa: ANN401, a module has no better type
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{module.split('.')[0]} is missing: pip install 'kyros-dash[{extra}]'"
        ) from error
