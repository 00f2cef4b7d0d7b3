"""Ask a web service and prove what it answers: status, headers, JSON, age of its data, and how fast it is."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Tuple

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Float, Int, Params, Path, Raw, Str
from opsplay.agent.spec import Dict as Mapping
from opsplay.agent.spec import List as Listing
from opsplay.modules.health import _exchange, _expect

PARAMS = {
    "url": Str(required=True, help="The address, with http:// or https://"),
    "method": Str(default="GET", help="What is asked of the service: GET, POST, DELETE …"),
    "body": Raw(help="What is sent: a text, or data that is sent as JSON"),
    "headers": Mapping(of=Str(), default={}, help="Headers of the request"),
    "token": Str(secret=True, help="A bearer token"),
    "user": Str(help="Whom to log in as (basic authentication)"),
    "password": Str(secret=True, help="The password of user"),
    "address": Str(help="Connect to this address in place of the name in url, which is still what is asked for"),
    "status": Listing(of=Int(min=100, max=599), default=[200], help="The answers that mean success"),
    "json": Mapping(default={}, help="Values within the answer by their path, such as checks.database: ok"),
    "json_not_empty": Listing(of=Str(), default=[], help="Paths within the answer that must hold something"),
    "json_max_age": Mapping(of=Float(), default={}, help="Seconds that a time within the answer may be old, by path"),
    "contains": Str(help="A text that the answer must hold"),
    "lacks": Str(help="A text that the answer must not hold"),
    "expect_headers": Mapping(of=Str(), default={}, help="Parts that the answer's headers must hold"),
    "min_size": Int(min=0, default=0, help="How many bytes the answer must have"),
    "samples": Int(min=1, max=1000, default=1, help="How often it is asked to measure its speed"),
    "p95_ms": Float(help="Milliseconds that 95 of 100 answers may take at most"),
    "timeout": Float(default=10, help="Seconds that one answer may take"),
    "retries": Int(min=0, default=0, help="How often a failure is tried again"),
    "delay": Float(default=1, help="Seconds between two tries"),
    "follow_redirects": Bool(default=False, help="Follow redirects"),
    "validate_certs": Bool(default=True, help="Refuse servers whose certificate is not trusted"),
    "ca_path": Path(help="Certificates (PEM) that are trusted, in place of the system's"),
    "return_content": Bool(default=False, help="Return the answer as content, and as json_content where it is JSON"),
}
CHECK = "partial"
HARMLESS = ("GET", "HEAD", "OPTIONS")


def run(host: Host, params: Params) -> Dict[str, Any]:
    method = params.method.upper()
    if host.check and method not in HARMLESS:
        host.changed = True
        host.unknown("status", "times", "content", "json_content")
        return host.outcome(msg="nothing is sent in a preview: %s %s" % (method, params.url))
    request = request_of(params, method)
    problems, replies = attempts(host, request, params)
    host.changed = method not in HARMLESS
    result: Dict[str, Any] = {"url": params.url, "problems": problems}
    if replies:
        result.update(described(replies, params))
    if problems:
        if host.check and host.shadow.brings_unknown_files:
            host.unknown("status", "times", "content", "json_content")
            return host.outcome(msg="the service may answer when earlier tasks have run: %s" % problems[0])
        host.fail("%s %s: %s" % (method, params.url, "; ".join(problems)), **result)
    return host.outcome(**result)


def request_of(params: Params, method: str) -> _exchange.Request:
    """The request that the parameters describe."""
    import base64
    import json

    headers = dict({"User-Agent": "opsplay", "Accept": "*/*"}, **params.headers)
    body = params.body
    if body is not None and not isinstance(body, str):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    if params.token:
        headers["Authorization"] = "Bearer %s" % params.token
    elif params.user:
        pair = "%s:%s" % (params.user, params.password or "")
        headers["Authorization"] = "Basic %s" % base64.b64encode(pair.encode()).decode()
    return _exchange.Request(params.url, method, None if body is None else body.encode(), headers, params)


def attempts(host: Host, request: _exchange.Request, params: Params) -> Tuple[List[str], List[_exchange.Reply]]:
    """Ask until nothing is wrong, or the tries are used up."""
    for left in range(params.retries, -1, -1):
        problems, replies = measured(host, request, params)
        if not problems or not left:
            break
        host.progress("%s; %d tries left" % (problems[0], left))
        time.sleep(params.delay)
    return problems, replies


def measured(host: Host, request: _exchange.Request, params: Params) -> Tuple[List[str], List[_exchange.Reply]]:
    """All samples of one try, and what is wrong with them."""
    replies: List[_exchange.Reply] = []
    for number in range(params.samples):
        try:
            reply = _exchange.ask(request)
        except _exchange.Trouble as problem:
            return ["%s (%s)" % (problem, problem.phase)], replies
        replies.append(reply)
        problems = _expect.failures(reply, params)
        if problems:
            return problems, replies
        if params.samples > 1:
            host.progress("asking %s" % params.url, number + 1, params.samples)
    return too_slow(replies, params), replies


def too_slow(replies: List[_exchange.Reply], params: Params) -> List[str]:
    """Whether 95 of 100 answers took longer than allowed, and where the time went."""
    if params.p95_ms is None:
        return []
    p95 = _expect.percentile([reply.times["total"] for reply in replies], 0.95)
    if p95 <= params.p95_ms:
        return []
    worst = max(replies, key=lambda reply: reply.times["total"])
    phase, took = _exchange.slowest_phase(worst.times)
    text = "95 of 100 answers took up to %.0f ms, %g ms are allowed; the longest spent %.0f ms on %s"
    return [text % (p95, params.p95_ms, took, phase)]


def described(replies: List[_exchange.Reply], params: Params) -> Dict[str, Any]:
    """What is returned of the answers."""
    import json

    last = replies[-1]
    found: Dict[str, Any] = {"status": last.status, "times": last.times, "headers": last.headers}
    found.update(_expect.summary([reply.times for reply in replies]))
    if params.return_content:
        found["content"] = last.body.decode("utf-8", "replace")
        try:
            found["json_content"] = json.loads(found["content"])
        except ValueError:
            pass
    return found
