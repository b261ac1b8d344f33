"""Whose request it is, and that tenant's data, for dashboards behind a Kyros sidecar.

    from kyros_dash import Data, visitor

    who = visitor(request.headers)
    frame = Data(who).pandas("transactions", group_by=["channel"], aggregations=["revenue:sum"])

`visitor` reads what the sidecar injected and verifies the token in it once more. `Data` asks the
data API through the sidecar; the rows are those of the visitor's tenant and of no other, because
the API takes the tenant from the token and nothing else.
"""

from kyros_dash._data import Data
from kyros_dash._errors import (
    ConfigurationError,
    DataError,
    Forbidden,
    InvalidQuery,
    KyrosError,
    NotFound,
    SessionEnded,
    TooManyRequests,
    TooManyRows,
    Unavailable,
)
from kyros_dash._headers import environ_headers
from kyros_dash._query import Aggregations, Condition, Filter, Where
from kyros_dash._verify import Verifier
from kyros_dash._visitor import Visitor, visitor

__all__ = [
    "Aggregations",
    "Condition",
    "ConfigurationError",
    "Data",
    "DataError",
    "Filter",
    "Forbidden",
    "InvalidQuery",
    "KyrosError",
    "NotFound",
    "SessionEnded",
    "TooManyRequests",
    "TooManyRows",
    "Unavailable",
    "Verifier",
    "Visitor",
    "Where",
    "environ_headers",
    "visitor",
]
