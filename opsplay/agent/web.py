"""HTTP, HTTPS and FTP through the standard library's urllib, which is imported when the first request is made."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

CHUNK = 256 << 10
USUAL = ("use_proxy", "validate_certs", "use_netrc", "decompress")
FOLLOWED = {"all": True, "yes": True, "none": False, "no": False}


class Unreachable(Exception):
    """No whole answer came: no connection, no trust in the certificate, or an end before the end."""


class Options:
    """How to reach a server, by Ansible's names; `params` may lack any of them."""

    timeout: float
    use_proxy: bool
    validate_certs: bool
    ca_path: Optional[str]
    client_cert: Optional[str]
    client_key: Optional[str]
    ciphers: Optional[List[str]]
    unix_socket: Optional[str]
    url_username: Optional[str]
    url_password: Optional[str]
    force_basic_auth: bool
    use_netrc: bool
    follow_redirects: str
    unredirected_headers: List[str]
    http_agent: Optional[str]
    force: bool
    decompress: bool
    __slots__ = (
        "timeout", "use_proxy", "validate_certs", "ca_path", "client_cert", "client_key", "ciphers", "unix_socket",
        "url_username", "url_password", "force_basic_auth", "use_netrc", "follow_redirects", "unredirected_headers",
        "http_agent", "force", "decompress",
    )  # fmt: skip

    def __init__(self, params: Mapping[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, params.get(name, True if name in USUAL else None))
        self.timeout = params.get("timeout") or 30
        self.follow_redirects = params.get("follow_redirects") or "urllib2"
        self.unredirected_headers = params.get("unredirected_headers") or []


class Answer:
    """A server's answer, of whatever status. A context; `chunks` gives the body once."""

    __slots__ = ("status", "reason", "url", "headers", "cookies", "_response", "_decompress")

    def __init__(self, response: Any, cookies: Any, decompress: bool) -> None:
        self._response = response
        self._decompress = decompress
        # FTP and files have no status.
        self.status = int(response.getcode() or 200)
        self.reason = str(getattr(response, "reason", None) or getattr(response, "msg", ""))
        self.url = str(response.geturl())
        self.headers: Dict[str, str] = {}
        for name, value in response.headers.items():
            known = self.headers.get(name.lower())
            self.headers[name.lower()] = value if known is None else "%s, %s" % (known, value)
        self.cookies = [(cookie.name, cookie.value or "") for cookie in cookies]

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *exc: Any) -> None:
        self._response.close()

    @property
    def size(self) -> Optional[int]:
        """The body's length as the server announces it, None when it does not."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isdigit() else None

    @property
    def is_packed(self) -> bool:
        """Whether the body's length on the way is not that of its content."""
        return self._decompress and self.headers.get("content-encoding", "").lower() == "gzip"

    def chunks(self) -> Iterator[bytes]:
        """The body, in pieces. Raises Unreachable when the connection ends too early."""
        return unzipped(self._raw()) if self.is_packed else self._raw()

    def _raw(self) -> Iterator[bytes]:
        import http.client

        received = 0
        while True:
            try:
                data = self._response.read(CHUNK)
            except (OSError, http.client.HTTPException) as problem:
                raise Unreachable("the connection broke after %d bytes: %s" % (received, problem))
            if not data:
                break
            received += len(data)
            yield data
        # The standard library takes an early end for the end.
        missing = getattr(self._response, "length", None)
        if missing:
            raise Unreachable("the connection ended after %d of %d bytes" % (received, received + missing))


def unzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a gzip stream, in pieces of bounded size. Raises Unreachable when it is damaged."""
    import zlib

    unzip = zlib.decompressobj(31)
    try:
        for chunk in chunks:
            while chunk:
                yield unzip.decompress(chunk, CHUNK)
                chunk = unzip.unconsumed_tail
        yield unzip.flush()
    except zlib.error as problem:
        raise Unreachable("the body is no gzip stream: %s" % problem)
    if not unzip.eof:
        raise Unreachable("the gzip stream ends too early")


def request(
    options: Options, url: str, method: str = "GET", headers: Mapping[str, str] = {}, body: Any = None
) -> Answer:
    """Send a request; `body` is bytes or a file opened for bytes. Answers of any status are returned.

    Raises Unreachable when there is no answer, ValueError for a URL that is none.
    """
    import http.client
    import urllib.error
    from base64 import b64encode
    from http.cookiejar import CookieJar
    from urllib.request import HTTPCookieProcessor, Request, build_opener

    url, user, password = credentials(options, url)
    cookies = CookieJar()
    sent = Request(url, data=body, method=method)
    for name, value in all_headers(options, headers).items():
        add = sent.add_unredirected_header if is_private(name, options) else sent.add_header
        add(name, value)
    if user and options.force_basic_auth:
        login = b64encode(("%s:%s" % (user, password)).encode()).decode("ascii")
        sent.add_unredirected_header("Authorization", "Basic " + login)
    try:
        opener = build_opener(HTTPCookieProcessor(cookies), *handlers(options, url, user, password))
        return Answer(opener.open(sent, timeout=options.timeout), cookies, options.decompress)
    except urllib.error.HTTPError as answer:
        return Answer(answer, cookies, options.decompress)
    except urllib.error.URLError as problem:
        raise Unreachable("Request failed: %s" % problem)
    except (OSError, http.client.HTTPException) as problem:
        raise Unreachable("Connection failure: %s" % (problem or type(problem).__name__))


def all_headers(options: Options, headers: Mapping[str, str]) -> Dict[str, str]:
    found = {"User-Agent": options.http_agent or "ansible-httpget"}
    if options.force:
        found["Cache-Control"] = "no-cache"
    found.update((name.title(), value) for name, value in headers.items())
    return found


def is_private(name: str, options: Options) -> bool:
    """Whether a header stays with the first server: those that are named so, and what lets somebody in."""
    return name.lower() in ("authorization", *(listed.lower() for listed in options.unredirected_headers))


def credentials(options: Options, url: str) -> Tuple[str, str, str]:
    """The URL without its user and password, and whom to log in as: the parameters', the URL's, or ~/.netrc's."""
    from urllib.parse import unquote, urlsplit, urlunsplit

    parts = urlsplit(url)
    user, password = options.url_username or "", options.url_password or ""
    if "@" in parts.netloc:
        name, _, secret = parts.netloc.rpartition("@")[0].partition(":")
        if parts.scheme in ("http", "https"):
            url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if not user:
            user, password = unquote(name), unquote(secret)
    elif not user and options.use_netrc:
        user, password = from_netrc(parts.hostname or "")
        options.force_basic_auth = options.force_basic_auth or bool(user)
    return url, user, password


def from_netrc(server: str) -> Tuple[str, str]:
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    if not os.path.isfile(path):
        return "", ""
    import netrc

    try:
        found = netrc.netrc(path).authenticators(server)
    except (OSError, netrc.NetrcParseError):
        return "", ""
    return (found[0] or "", found[2] or "") if found else ("", "")


def handlers(options: Options, url: str, user: str, password: str) -> List[Any]:
    """What urllib opens URLs with."""
    from urllib import request as urllib

    found: List[Any] = [redirects(options.follow_redirects)]
    if not options.use_proxy:
        found.append(urllib.ProxyHandler({}))
    if user and not options.force_basic_auth:
        passwords = urllib.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, url, user, password)
        found += [urllib.HTTPBasicAuthHandler(passwords), urllib.HTTPDigestAuthHandler(passwords)]
    found.append(secure(options))
    if options.unix_socket:
        found.append(plain(options))
    return found


def redirects(policy: str) -> Any:
    """What follows redirects: all, none, safe (those of GET and HEAD), or urllib2 (as the standard library does)."""
    from urllib.parse import urlsplit
    from urllib.request import HTTPRedirectHandler, Request

    class Redirects(HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            followed = FOLLOWED.get(policy, req.get_method() in ("GET", "HEAD"))
            if policy == "urllib2" and code not in (307, 308):
                made = HTTPRedirectHandler.redirect_request(self, req, fp, code, msg, headers, newurl)
            else:
                # None lets the redirect itself be the answer.
                made = self.repeated(req, code, newurl.replace(" ", "%20")) if followed else None
            login = req.unredirected_hdrs.get("Authorization")
            if made is not None and login and urlsplit(made.full_url)[:2] == urlsplit(req.full_url)[:2]:
                made.add_unredirected_header("Authorization", login)
            return made

        def repeated(self, req: Any, code: int, url: str) -> Any:
            """The request for another place. Some become a GET, as with browsers; 307 and 308 stay as they are."""
            method, data, kept = req.get_method(), req.data, dict(req.headers)
            if (code in (302, 303) and method != "HEAD") or (code == 301 and method == "POST"):
                method, data = "GET", None
                kept = {name: value for name, value in kept.items() if not name.lower().startswith("content-")}
            return Request(url, data, kept, req.origin_req_host, unverifiable=True, method=method)

        # Python 3.10 and older know no 308.
        http_error_308 = HTTPRedirectHandler.http_error_302

    return Redirects()


def tls(options: Options) -> Any:
    import ssl

    context = ssl.create_default_context(cafile=options.ca_path)
    if not options.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.client_cert:
        context.load_cert_chain(options.client_cert, options.client_key)
    if options.ciphers:
        context.set_ciphers(":".join(options.ciphers))
    return context


def secure(options: Options) -> Any:
    """What opens https URLs; certificates are loaded when the first one is."""
    import http.client
    from urllib.request import HTTPSHandler

    class Connection(http.client.HTTPSConnection):
        def connect(self) -> None:
            if options.unix_socket:
                self.sock = tls(options).wrap_socket(local_socket(options), server_hostname=self.host)
            else:
                http.client.HTTPSConnection.connect(self)

    class Secure(HTTPSHandler):
        def https_open(self, req: Any) -> Any:
            return self.do_open(Connection, req, context=tls(options))

    return Secure()


def plain(options: Options) -> Any:
    """What opens http URLs through a Unix socket, whatever server they name."""
    import http.client
    from urllib.request import HTTPHandler

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = local_socket(options)

    class Plain(HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return self.do_open(Connection, req)

    return Plain()


def local_socket(options: Options) -> Any:
    import socket

    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(options.timeout)
    made.connect(options.unix_socket or "")
    return made
