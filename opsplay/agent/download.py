"""A small thing at an address, such as a key or a list of keys: whole in memory."""

from __future__ import annotations

from opsplay.agent import web

# Who sends more sends something else.
LONGEST = 1 << 20


def content(url: str, verify: bool = True, timeout: float = 30) -> bytes:
    """What is at this address; `verify` asks an https server for a valid certificate, `timeout` is in seconds.

    Raises web.Unreachable, also for an answer that is an error or longer than a megabyte.
    """
    options = web.Options({"validate_certs": verify, "timeout": timeout})
    data = b""
    try:
        with web.request(options, url) as answer:
            if answer.status >= 400:
                raise web.Unreachable("HTTP %d %s" % (answer.status, answer.reason))
            for chunk in answer.chunks():
                data += chunk
                if len(data) > LONGEST:
                    raise web.Unreachable("it is longer than %d bytes" % LONGEST)
    except ValueError as problem:
        raise web.Unreachable(str(problem))
    return data
