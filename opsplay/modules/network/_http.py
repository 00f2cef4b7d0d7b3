"""What get_url and uri share: the parameters of a request, and an answer on its way to a file."""

from __future__ import annotations

import os
import time
from typing import Any, Dict

from opsplay.agent import web
from opsplay.agent.host import Host
from opsplay.agent.permissions import PERMISSIONS
from opsplay.agent.spec import Bool, Int, List, Param, Params, Path, Str
from opsplay.agent.spec import Dict as Mapping


def request_params(user: str, password: str, timeout: int) -> Dict[str, Param]:
    """The parameters of every request. `user` and `password` are the short names of url_username and url_password."""
    return dict(
        PERMISSIONS,
        url=Str(required=True, help="The address"),
        url_username=Str(aliases=(user,), help="Whom to log in as"),
        url_password=Str(aliases=(password,), secret=True, help="The password of url_username"),
        force_basic_auth=Bool(default=False, help="Send user and password at once, not when the server asks"),
        use_netrc=Bool(default=True, help="Take user and password from ~/.netrc when none are given"),
        use_gssapi=Bool(default=False, help="Not available: Python's standard library has no Kerberos"),
        headers=Mapping(of=Str(), default={}, help="Further headers of the request"),
        unredirected_headers=List(of=Str(), default=[], help="Headers that a redirect does not get"),
        http_agent=Str(default="ansible-httpget", help="How the request names its sender"),
        force=Bool(default=False, help="Ask for a fresh copy, whatever is there"),
        timeout=Int(min=1, default=timeout, help="Seconds without an answer after which the request fails"),
        use_proxy=Bool(default=True, help="Use the proxy that the environment names"),
        validate_certs=Bool(default=True, help="Refuse servers whose certificate is not trusted"),
        ca_path=Path(help="Certificates (PEM) that are trusted, in place of the system's"),
        client_cert=Path(help="A certificate (PEM) to log in with; it may hold its key, too"),
        client_key=Path(help="The key of client_cert"),
        ciphers=List(of=Str(), help="The ciphers that may be used, as OpenSSL names them"),
        decompress=Bool(default=True, help="Unpack an answer that the server has packed with gzip"),
    )


def options_of(host: Host, params: Params) -> web.Options:
    """How the request is made. Fails for what cannot be had."""
    if params.use_gssapi:
        host.fail("use_gssapi needs a Kerberos library that hosts do not have; use url_username and url_password")
    options = web.Options(params)
    for name in ("ca_path", "client_cert", "client_key", "unix_socket"):
        given = getattr(options, name)
        if given:
            setattr(options, name, host.expand(given))
    return options


def seconds_since(started: float) -> int:
    """Whole seconds since a moment of time.monotonic."""
    return int(time.monotonic() - started)


def length_said(answer: web.Answer) -> str:
    """How Ansible's messages name a success and its size."""
    return "OK (%s bytes)" % answer.headers.get("content-length", "unknown")


def receive(host: Host, answer: web.Answer, into: Any) -> None:
    """Write an answer's body, telling how far it is. Raises web.Unreachable and OSError."""
    received = 0
    for chunk in answer.chunks():
        into.write(chunk)
        received += len(chunk)
        host.progress("downloading", received, answer.size or 0)


def name_in(answer: web.Answer) -> str:
    """The file's name that the server gives, else the last part of the address."""
    from email.message import Message
    from urllib.parse import unquote, urlsplit

    message = Message()
    message["Content-Disposition"] = answer.headers.get("content-disposition", "")
    # What the server says is a name, never a way out of the directory.
    name = os.path.basename((message.get_filename() or unquote(urlsplit(answer.url).path)).rstrip("/"))
    return name if name not in ("", ".", "..") and "\0" not in name else "index.html"
