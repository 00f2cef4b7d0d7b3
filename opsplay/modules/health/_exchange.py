"""One HTTP request on a connection of its own, with the time of each of its phases."""

from __future__ import annotations

import time
from typing import Any, Dict, Optional, Tuple

# An answer is read up to this many bytes.
BODY_MOST = 8 << 20
PHASES = ("dns", "connect", "tls", "ttfb", "total")
REDIRECTS_MOST = 5


class Trouble(Exception):
    """No answer came: `str()` says why; `phase` is where it ended."""

    def __init__(self, phase: str, message: str) -> None:
        Exception.__init__(self, message)
        self.phase = phase


class Request:
    """What is asked, and how. `address` is connected to in place of the name in the URL; `timeout` in seconds."""

    __slots__ = ("url", "method", "body", "headers", "timeout", "address", "ca_path", "validate_certs", "redirects")

    def __init__(self, url: str, method: str, body: Optional[bytes], headers: Dict[str, str], params: Any) -> None:
        self.url = url
        self.method = method
        self.body = body
        self.headers = headers
        self.timeout = params.timeout
        self.address = params.address or ""
        self.ca_path = params.ca_path
        self.validate_certs = params.validate_certs
        self.redirects = REDIRECTS_MOST if params.follow_redirects else 0


class Reply:
    """Status, headers (names in lower case), body, and milliseconds by phase; each phase includes those before it."""

    __slots__ = ("url", "status", "headers", "body", "times")

    def __init__(self, url: str, status: int, headers: Dict[str, str], body: bytes, times: Dict[str, float]) -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body
        self.times = times


def ask(request: Request) -> Reply:
    """Send a request, follow its redirects, and read the answer. Raises Trouble."""
    from urllib.parse import urljoin

    url = request.url
    for _ in range(request.redirects + 1):
        reply = _once(request, url)
        target = reply.headers.get("location")
        if not request.redirects or reply.status not in (301, 302, 303, 307, 308) or not target:
            return reply
        url = urljoin(url, target)
    raise Trouble("total", "more than %d redirects, the last one to %s" % (request.redirects, url))


def _once(request: Request, url: str) -> Reply:
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Trouble("dns", "%r is no address of a web service; it begins with http:// or https://" % url)
    clock = Clock(request.timeout)
    connection = HTTPConnection(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    try:
        connection.sock = _connected(request, parts, connection.port, clock)
        path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        clock.phase = "ttfb"
        connection.request(request.method, path, request.body, request.headers)
        answer = connection.getresponse()
        clock.mark("ttfb")
        clock.phase = "total"
        body = answer.read(BODY_MOST)
        clock.mark("total")
    except (OSError, HTTPException) as problem:
        raise Trouble(clock.phase, _said(problem, request.timeout)) from problem
    finally:
        connection.close()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(url, answer.status, headers, body, clock.times)


def _connected(request: Request, parts: Any, port: int, clock: "Clock") -> Any:
    """A connected socket, with TLS where the URL asks for it. Raises OSError."""
    import socket

    clock.phase = "dns"
    found = socket.getaddrinfo(request.address or parts.hostname, port, type=socket.SOCK_STREAM)
    clock.mark("dns")
    clock.phase = "connect"
    problem: Any = OSError("no address")
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(clock.left())
        try:
            connection.connect(address)
            break
        except OSError as failure:
            connection.close()
            problem = failure
    else:
        raise problem
    clock.mark("connect")
    if parts.scheme == "https":
        clock.phase = "tls"
        connection.settimeout(clock.left())
        connection = _context(request).wrap_socket(connection, server_hostname=parts.hostname)
        clock.mark("tls")
    connection.settimeout(clock.left())
    return connection


def _context(request: Request) -> Any:
    import ssl

    context = ssl.create_default_context(cafile=request.ca_path or None)
    if not request.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _said(problem: Exception, timeout: float) -> str:
    """A failure in words."""
    import socket

    if isinstance(problem, socket.timeout):
        return "no answer within %g s" % timeout
    reason = getattr(problem, "verify_message", "") or getattr(problem, "strerror", "") or str(problem)
    return str(reason) or type(problem).__name__


class Clock:
    """Milliseconds since the start at the end of each phase, and what is left of the time allowed."""

    def __init__(self, timeout: float) -> None:
        self.times: Dict[str, float] = {}
        self.phase = "dns"
        self._start = time.monotonic()
        self._deadline = self._start + timeout

    def mark(self, phase: str) -> None:
        self.times[phase] = round((time.monotonic() - self._start) * 1000, 1)

    def left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.001)


def slowest_phase(times: Dict[str, float]) -> Tuple[str, float]:
    """The phase that took longest, and its own milliseconds."""
    before, found = 0.0, ("total", 0.0)
    for phase in PHASES:
        if phase in times:
            own = round(times[phase] - before, 1)
            found = max(found, (phase, own), key=lambda entry: entry[1])
            before = times[phase]
    return found
