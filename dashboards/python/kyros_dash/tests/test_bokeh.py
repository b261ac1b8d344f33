"""Bokeh and Panel: who it is comes with the request, and no token goes to the browser."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator

import httpx
import pytest
from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.models import Div
from bokeh.server.server import Server
from bokeh.util.token import generate_jwt_token, generate_session_id, get_token_payload
from conftest import Issuer

from kyros_dash import ConfigurationError, Forbidden, Verifier
from kyros_dash.bokeh import visitor


class Page:
    """A real Bokeh server whose page says whose it is."""

    def __init__(self, verifier: Verifier, include_headers: list[str] | None) -> None:
        self.verifier = verifier
        self.include_headers = include_headers
        self.raised: list[Exception] = []
        self.tenants: list[str] = []
        self.began = threading.Event()
        self.thread = threading.Thread(target=asyncio.run, args=(self.serve(),))
        self.thread.start()
        assert self.began.wait(10)

    def page(self, document: Document) -> None:
        try:
            who = visitor(document, verifier=self.verifier)
            # A second time, as a callback would.
            assert visitor(document, verifier=self.verifier) is who
        except (ConfigurationError, Forbidden) as error:
            self.raised.append(error)
            raise
        self.tenants.append(who.tenant)
        document.add_root(Div(text=f"it is {who.tenant}"))

    async def serve(self) -> None:
        self.loop, self.stopped = asyncio.get_running_loop(), asyncio.Event()
        app = Application(FunctionHandler(self.page))
        server = Server({"/": app}, port=0, include_headers=self.include_headers)
        server.start()
        self.url = f"http://127.0.0.1:{server.port}/"
        self.began.set()
        await self.stopped.wait()
        server.stop()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join()

    def get(self, headers: dict[str, str]) -> httpx.Response:
        return httpx.get(self.url, headers=headers, trust_env=False)


@pytest.fixture
def page(verifier: Verifier) -> Iterator[Page]:
    page = Page(verifier, ["Host"])
    yield page
    page.stop()


def token_in(page: httpx.Response) -> str:
    found = re.search(r'"token":"([^"]+)"', page.text)
    assert found, page.text
    return str(found[1])


def test_a_page_knows_whose_it_is_and_tells_the_browser_nothing(page: Page, issuer: Issuer) -> None:
    for tenant in ("acme", "globex"):
        headers = issuer.headers(tenant)
        answer = page.get(headers)
        assert page.raised == []
        payload = json.dumps(get_token_payload(token_in(answer)))
        for secret in (headers["Authorization"].split()[1], headers["X-Kyros-Session"]):
            assert secret not in answer.text
            assert secret not in payload


def test_a_server_that_would_send_the_token_out_is_stopped(
    verifier: Verifier, issuer: Issuer
) -> None:
    leaking = Page(verifier, None)
    try:
        leaking.get(issuer.headers())
        [error] = leaking.raised
        assert isinstance(error, ConfigurationError)
        assert "--include-headers Host" in str(error)
    finally:
        leaking.stop()


def test_what_the_browser_writes_into_the_pages_token_is_not_believed(
    page: Page, issuer: Issuer
) -> None:
    claimed = {"Host": "a", "X-Kyros-Tenant": "globex"}
    forged = {"headers": claimed, "cookies": {}, "arguments": {}}
    token = generate_jwt_token(generate_session_id(), extra_payload=forged)
    answer = httpx.get(
        page.url, params={"bokeh-token": token}, headers=issuer.headers(), trust_env=False
    )
    assert answer.status_code == 200
    assert page.tenants == ["acme"]
    # Headers of nobody stay nobody's, whatever the token says.
    token = generate_jwt_token(generate_session_id(), extra_payload=forged)
    httpx.get(page.url, params={"bokeh-token": token}, headers={"Host": "a"}, trust_env=False)
    assert [type(error) for error in page.raised] == [Forbidden]
