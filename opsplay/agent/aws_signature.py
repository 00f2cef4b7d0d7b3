"""Signature Version 4 of the requests to S3 and to other services of Amazon's kind, as its documentation describes it.

    canonical request   method, path, query, headers and the body's sha256, each written in one way only
    string to sign      the time, the scope (day/region/service/aws4_request) and the sha256 of the canonical request
    signing key         the secret, hashed with each part of the scope in turn: good for that day, region and service
    signature           the string to sign, hashed with that key

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import time
from typing import Dict, Mapping, Sequence, Tuple

ALGORITHM = "AWS4-HMAC-SHA256"


class Key:
    """An access key; `token` belongs to temporary credentials, and is empty otherwise."""

    __slots__ = ("access", "secret", "token")

    def __init__(self, access: str, secret: str, token: str = "") -> None:
        self.access = access
        self.secret = secret
        self.token = token


class NoKey(Exception):
    """A file that holds no access key: `str()` says why, without what the file says."""


def key_of(path: str) -> Key:
    """The key of a file of credentials, in the form of ~/.aws/credentials. Raises NoKey."""
    import configparser
    import os

    found = configparser.RawConfigParser()
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), encoding="utf-8") as file:
            found.read_file(file)
        have = dict(found.items("default"))
        return Key(have["aws_access_key_id"], have["aws_secret_access_key"], have.get("aws_session_token", ""))
    except OSError as problem:
        raise NoKey("%s cannot be read: %s" % (path, problem.strerror)) from None
    except (configparser.Error, KeyError, ValueError):
        # What it says may hold the secret.
        raise NoKey("%s needs [default] with aws_access_key_id and aws_secret_access_key" % path) from None


def quoted(text: str, safe: str = "") -> str:
    """Text as its UTF-8 bytes in a URL: all but letters, digits, `-._~` and what is safe as %XX."""
    from urllib.parse import quote

    return quote(text, safe="-._~" + safe)


def query_string(query: Sequence[Tuple[str, str]]) -> str:
    """The query as it is signed, and as it is sent."""
    return "&".join("%s=%s" % pair for pair in sorted((quoted(name), quoted(value)) for name, value in query))


def signed(
    key: Key,
    service: str,
    region: str,
    method: str,
    path: str,
    query: Sequence[Tuple[str, str]],
    headers: Mapping[str, str],
    sha256: str,
    now: float,
) -> Dict[str, str]:
    """The headers of a request with those that authorise it, by their names in lower case.

    `path` is quoted already, `headers` hold the host, `sha256` is that of the body in hexadecimal digits, `now` is in
    seconds since 1970. Every header that is given is signed. All services but S3 sign a path that is quoted once more.
    """
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    found = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    found.update({"x-amz-date": moment, "x-amz-content-sha256": sha256})
    if key.token:
        found["x-amz-security-token"] = key.token
    names = ";".join(sorted(found))
    lines = ["%s:%s\n" % (name, found[name]) for name in sorted(found)]
    shown = path if service == "s3" else quoted(path, "/")
    request = "\n".join((method, shown, query_string(query), "".join(lines), names, sha256))
    scope = (moment[:8], region, service, "aws4_request")
    text = "\n".join((ALGORITHM, moment, "/".join(scope), _sha256(request)))
    signature = _hmac(signing_key(key.secret, scope), text).hex()
    told = ("/".join((key.access,) + scope), names, signature)
    found["authorization"] = ALGORITHM + " Credential=%s, SignedHeaders=%s, Signature=%s" % told
    return found


def signing_key(secret: str, scope: Sequence[str]) -> bytes:
    """The key for one scope: day, region, service and the word that ends it."""
    found = ("AWS4" + secret).encode()
    for part in scope:
        found = _hmac(found, part)
    return found


def _hmac(key: bytes, text: str) -> bytes:
    import hmac

    return hmac.new(key, text.encode(), "sha256").digest()


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()
