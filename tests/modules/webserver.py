"""A web server for tests: what it was asked is kept, and what it answers is a table."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import json
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LAST_MODIFIED = "Sat, 01 Jan 2022 00:00:00 GMT"


class Handler(BaseHTTPRequestHandler):
    """Answers by path. `server.files` maps paths to contents, `server.asked` keeps (method, path, headers, body)."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        asked: list[Any] = self.server.asked  # type: ignore[attr-defined]
        asked.append((self.command, self.path, dict(self.headers), body))
        special = getattr(self, "do_" + path.strip("/").partition("/")[0].replace("-", "_"), None)
        if special is not None:
            special(body)
            return
        content = self.server.files.get(path)  # type: ignore[attr-defined]
        if content is None:
            self.say(404, b"there is nothing", {"Content-Type": "text/plain"})
        elif self.headers.get("If-Modified-Since"):
            self.say(304, b"")
        else:
            self.say(200, content, {"Last-Modified": LAST_MODIFIED})

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_echo(self, body: bytes) -> None:
        said = {"method": self.command, "headers": dict(self.headers), "body": body.decode("latin-1")}
        self.say(200, json.dumps(said).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def do_private(self, body: bytes) -> None:
        given = self.headers.get("Authorization", "")
        if given.startswith("Basic ") and b64decode(given[6:]) == b"ann:s3cret":
            self.say(200, b"welcome")
        else:
            self.say(401, b"who are you", {"WWW-Authenticate": 'Basic realm="test"'})

    def do_moved(self, body: bytes) -> None:
        self.say(302, b"", {"Location": self.headers.get("X-To", "/echo")})

    def do_kept(self, body: bytes) -> None:
        self.say(307, b"", {"Location": "/echo"})

    def do_cookie(self, body: bytes) -> None:
        self.say(200, b"", {"Set-Cookie": "session=abc; Path=/"})

    def do_zipped(self, body: bytes) -> None:
        self.say(200, gzip.compress(b"plain text" * 1000), {"Content-Encoding": "gzip"})

    def do_named(self, body: bytes) -> None:
        self.say(200, b"x", {"Content-Disposition": 'attachment; filename="../../the name.txt"'})

    def do_cut(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def do_fails(self, body: bytes) -> None:
        self.say(500, b'{"error": "broken"}', {"Content-Type": "application/json"})


class Server(ThreadingHTTPServer):
    """The server, with what it was asked."""

    daemon_threads = True

    def __init__(self, address: Any) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.files: dict[str, bytes] = {}
        super().__init__(address, Handler)

    @property
    def url(self) -> str:
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}"

    def paths(self) -> list[tuple[str, str]]:
        """What was asked so far, as method and path; then forgotten."""
        asked = [(method, path) for method, path, _, _ in self.asked]
        self.asked.clear()
        return asked


class SocketServer(Server):
    """The same on a Unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)  # type: ignore[arg-type]

    def get_request(self) -> Any:
        return self.socket.accept()[0], ("local", 0)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def secured(server: Server, folder: Path, client_ca: Path | None = None) -> Server:
    """Serve over TLS with the certificate in `folder`; with `client_ca` clients need one, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key, made now. Returns the certificate's path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    return folder / "cert.pem"
