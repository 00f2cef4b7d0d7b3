"""Send a request to a web service, and return or keep its answer."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Tuple

from opsplay.agent import files, web
from opsplay.agent.host import Blob, Host
from opsplay.agent.permissions import describe, settle
from opsplay.agent.spec import Bool, Choice, Int, List, Params, Path, Raw, Str
from opsplay.modules.network import _bodies
from opsplay.modules.network._http import length_said, name_in, options_of, receive, request_params, seconds_since

INTERNAL = "set by the control side"

PARAMS = dict(
    request_params("user", "password", 30),
    method=Str(default="GET", help="What is asked of the service: GET, POST, PUT, DELETE …"),
    body=Raw(help="What is sent: a text, or data for body_format"),
    body_format=Choice("form-urlencoded", "json", "raw", "form-multipart", default="raw", help="How body is written"),
    src=Path(help="A file whose content is sent, in place of body"),
    remote_src=Bool(default=False, help="src lies on the host; otherwise on the control side"),
    status_code=List(of=Int(), default=[200], help="The answers that mean success"),
    return_content=Bool(default=False, help="Return the answer's body as content; of a failure it always is"),
    dest=Path(help="A file, or a directory, that keeps the answer's body"),
    creates=Path(help="A path: where it is there, nothing is sent"),
    removes=Path(help="A path: where it is not there, nothing is sent"),
    follow_redirects=Choice(
        "all", "no", "none", "safe", "urllib2", "yes",
        default="safe", help="Which redirects are followed; safe means those of GET and HEAD",
    ),
    unix_socket=Path(help="The socket of the service, in place of the network"),
    _content=Raw(help=INTERNAL),
    _blob=Raw(help=INTERNAL),
)  # fmt: skip
CHECK = "skipped"

# An answer's body is in memory where it is returned: up to this size.
KEPT = 32 << 20


def run(host: Host, params: Params) -> Dict[str, Any]:
    for name, spares, said in (("creates", True, "exists"), ("removes", False, "does not exist")):
        path = params[name]
        if path and (host.stat(host.expand(path)) is not None) is spares:
            message = "skipped, since '%s' %s" % (path, said)
            return host.outcome(stdout=message, stdout_lines=[message], changed=False)
    if host.check:
        host.shadow.ran_programs = True
        return host.outcome(skipped=True, msg="no request is sent in a preview")
    if params.body is not None and params.src is not None:
        host.fail("parameters are mutually exclusive: body|src")
    started = time.monotonic()
    shown: Dict[str, Any] = {"url": params.url, "redirected": False, "status": -1}
    try:
        headers, body = content(host, params)
        with web.request(options_of(host, params), params.url, params.method.upper(), headers, body) as answer:
            shown.update(described(answer, params.url))
            is_success = answer.status in params.status_code
            if params.dest and is_success:
                keep(host, params, answer)
            else:
                shown.update(returned(answer, read(host, answer), params.return_content or not is_success))
    except (web.Unreachable, ValueError) as problem:
        message = "Status code was %d and not %s: %s" % (shown["status"], params.status_code, problem)
        host.fail(message, elapsed=seconds_since(started), **shown)
    shown["elapsed"] = seconds_since(started)
    if not is_success:
        message = "HTTP Error %d: %s" % (answer.status, answer.reason)
        host.fail("Status code was %d and not %s: %s" % (answer.status, params.status_code, message), **shown)
    shown.update(cookies=dict(answer.cookies), cookies_string="; ".join("%s=%s" % pair for pair in answer.cookies))
    return finish(host, params, answer, dict(shown, msg=length_said(answer)))


def content(host: Host, params: Params) -> Tuple[Dict[str, str], Any]:
    """The headers and the body of the request. Raises ValueError for a body that cannot be written so."""
    headers = {name.title(): value for name, value in params.headers.items()}
    blob, sent = params._blob, params._content
    if blob is not None:
        sent = b"".join(host.chunks(Blob(blob["sha256"], blob["size"])))
    elif sent is None and params.src is not None:
        try:
            sent = files.read_whole(host.expand(params.src))
        except OSError as problem:
            host.fail("Unable to open source file %s: %s" % (params.src, problem.strerror))
    if sent is not None:
        return headers, sent
    kind, body = _bodies.written(params.body, params.body_format)
    if kind and (params.body_format == "form-multipart" or "Content-Type" not in headers):
        headers["Content-Type"] = kind
    return headers, body


def described(answer: web.Answer, url: str) -> Dict[str, Any]:
    """The answer's headers and status, under the names that playbooks know."""
    headers = {name.replace("-", "_"): value for name, value in answer.headers.items()}
    return dict(headers, url=answer.url, status=answer.status, redirected=answer.url != url)


def read(host: Host, answer: web.Answer) -> bytes:
    """The answer's body. Fails when it is too large to be in memory."""
    parts, size = [], 0
    for chunk in answer.chunks():
        parts.append(chunk)
        size += len(chunk)
        if size > KEPT:
            host.fail("the answer has more than %d bytes: give dest to keep it in a file" % KEPT, status=answer.status)
    return b"".join(parts)


def returned(answer: web.Answer, body: bytes, with_content: bool) -> Dict[str, Any]:
    """The body as text, and what it says when it is JSON."""
    from email.message import Message

    message = Message()
    message["Content-Type"] = answer.headers.get("content-type", "application/octet-stream")
    try:
        text = body.decode(message.get_content_charset("utf-8"), "surrogateescape")
    except LookupError:
        text = body.decode("utf-8", "surrogateescape")
    shown: Dict[str, Any] = {"content": text} if with_content else {}
    kind = message.get_content_type()
    if kind.rpartition("/")[2] in ("json", "javascript") or kind.endswith("+json"):
        import json

        try:
            shown["json"] = json.loads(text)
        except ValueError:
            pass
    return shown


def keep(host: Host, params: Params, answer: web.Answer) -> None:
    """Write the answer's body to dest, if it is another than the one that is there."""
    path = target(host, params, answer)
    if not host.is_directory(os.path.dirname(path)):
        host.fail("Destination %s does not exist" % os.path.dirname(path), status=answer.status)
    owner, group = params.owner, params.group
    with host.staged(path) as new:
        receive(host, answer, new)
        host.write(path, new, params.mode, owner, group, in_place=params.unsafe_writes)


def target(host: Host, params: Params, answer: web.Answer) -> str:
    path = host.real(params.dest)
    return os.path.join(path, name_in(answer)) if host.is_directory(path) else path


def finish(host: Host, params: Params, answer: web.Answer, shown: Dict[str, Any]) -> Dict[str, Any]:
    if params.dest:
        path = target(host, params, answer)
        settle(host, path, params)
        shown.update(describe(host, path), path=path)
    return host.outcome(**shown)
