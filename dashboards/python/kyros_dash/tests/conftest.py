"""What the tests share: an issuer with real keys, and a sidecar's egress on a real port."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from kyros_dash import Verifier, Visitor, visitor

ISSUER = "https://kyros.example"
DASHBOARD = "sales"


class Issuer:
    """Signs as the platform does: ES256 under a key id."""

    def __init__(self, kid: str = "key-1") -> None:
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP256R1())

    def jwk(self) -> dict[str, Any]:
        public = json.loads(ECAlgorithm.to_jwk(self.key.public_key()))
        return {**public, "kid": self.kid, "alg": "ES256", "use": "sig"}

    def claims(self, tenant: str = "acme", **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": f"dashboard:{DASHBOARD}",
            "sub": "ana",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": "j1",
            "sid": f"session-of-{tenant}",
            "client_id": "sales",
            "tenant_id": tenant,
            "tenant_uid": f"uid-of-{tenant}",
            "dashboard": DASHBOARD,
            "roles": ["viewer", "analyst"],
            "email": "ana@acme.example",
        }
        claims.update(changes)
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, tenant: str = "acme", header: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        headers = {"typ": "at+jwt", "kid": self.kid, **(header or {})}
        return jwt.encode(self.claims(tenant, **changes), self.key, "ES256", headers)

    def headers(self, tenant: str = "acme", **changes: Any) -> dict[str, str]:
        return injected(self.token(tenant, **changes), tenant)


def injected(token: str, tenant: str = "acme") -> dict[str, str]:
    """Headers as a sidecar injects them."""
    return {
        "Host": f"{DASHBOARD}--{tenant}.kyros.localhost",
        "Authorization": f"Bearer {token}",
        "X-Kyros-Tenant": tenant,
        "X-Kyros-Dashboard": DASHBOARD,
        "X-Kyros-User": "ana",
        "X-Kyros-Session": f"session-of-{tenant}",
    }


@dataclass
class Request:
    """What the egress was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


@dataclass
class Answer:
    """What it answers."""

    body: bytes | Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    # Seconds until it is sent.
    delay: float = 0.0


class Egress:
    """A sidecar's egress: keys and expectations as given, data as the test scripts it."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.expected: Any = {"issuer": ISSUER, "dashboard": DASHBOARD, "tenant": None}
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.answer: Callable[[Request], Answer] | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path.startswith(path)]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _next(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.path == "/.well-known/jwks.json":
            return Answer({"keys": self.keys})
        if request.path == "/.well-known/kyros-dashboard":
            return Answer(self.expected)
        if self.answer is not None:
            return self.answer(request)
        return self.answers.pop(0)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        egress = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = json.loads(body) if body else None
                answer = egress._next(Request(self.command, self.path, headers, asked))
                time.sleep(answer.delay)
                is_raw = isinstance(answer.body, bytes)
                content = answer.body if is_raw else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def egress(issuer: Issuer) -> Iterator[Egress]:
    egress = Egress()
    egress.keys = [issuer.jwk()]
    yield egress
    egress.stop()


@pytest.fixture
def verifier(egress: Egress) -> Verifier:
    return Verifier(egress.url)


@pytest.fixture
def ana(issuer: Issuer, verifier: Verifier) -> Visitor:
    return visitor(issuer.headers(), verifier=verifier)
