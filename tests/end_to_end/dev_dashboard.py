"""A dashboard of Python's standard library alone, for the tests of `kyros dev`.

It answers with whose request it is and with a customer of that tenant, tells its own log
what it must never show whole, and answers a WebSocket by closing it with a code.
"""

import base64
import hashlib
import http.server
import json
import os
import struct
import subprocess
import sys
import urllib.request

VERSION = "one"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE_CODE = 4242


class Dashboard(http.server.BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with JSON, or with a socket that closes at once."""
        if self.headers.get("Upgrade"):
            return self.close_socket()
        # Of no name that is watched.
        with open("received.log", "a") as file:
            print(self.headers["Authorization"], self.headers["X-Kyros-Session"], file=file)
        print("asked by", self.headers["Authorization"], "on", self.path)
        names = ("Authorization", "X-Kyros-Session")
        address = os.environ["KYROS_API_URL"] + "/api/data/transactions?limit=1&select=customer_id&format=csv"
        request = urllib.request.Request(address, headers={name: self.headers[name] for name in names})
        customer = urllib.request.urlopen(request).read().decode().split()[-1]
        whose = {name: self.headers[f"X-Kyros-{name}"] for name in ("Tenant", "Email", "Dashboard")}
        body = json.dumps({"version": VERSION, "pid": os.getpid(), "customer": customer, **whose}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def close_socket(self) -> None:
        """Accept the handshake, and say goodbye."""
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"\x88\x02" + struct.pack("!H", CLOSE_CODE))
        self.wfile.flush()
        self.rfile.read(1)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing: `kyros dev` shows requests."""


if "--with-child" in sys.argv:
    # One that does not end when it is asked to.
    child = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    with open("processes.log", "w") as file:
        print(os.getpid(), child.pid, file=file)

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Dashboard)
print("ready")
server.serve_forever()
