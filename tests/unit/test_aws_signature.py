"""Signatures of requests are those of S3's documentation, and those that botocore makes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any
from unittest import mock

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from opsplay.agent.aws_signature import Key, query_string, quoted, signed, signing_key

EMPTY = hashlib.sha256(b"").hexdigest()
# The key of the examples in S3's documentation: it opens nothing.
KEY = Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = {"Host": "examplebucket.s3.amazonaws.com"}
MOMENT = 1369353600.0


def signature(*request: Any) -> str:
    return signed(KEY, "s3", "us-east-1", *request)["authorization"].rpartition("=")[2]


def test_the_documented_examples() -> None:
    got = signed(KEY, "s3", "us-east-1", "GET", "/test.txt", (), {**HOST, "Range": "bytes=0-9"}, EMPTY, MOMENT)
    assert got["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    put = {**HOST, "Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
    body = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    assert signature("PUT", "/" + quoted("test$file.text"), (), put, body, MOMENT) == (
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )
    assert signature("GET", "/", [("lifecycle", "")], HOST, EMPTY, MOMENT) == (
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )
    assert signature("GET", "/", [("prefix", "J"), ("max-keys", "2")], HOST, EMPTY, MOMENT) == (
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


def botocores(
    key: Key, region: str, method: str, path: str, query: str, headers: Mapping[str, str], sha256: str, now: float,
    service: str = "s3",
) -> str:
    """The Authorization header that botocore gives the same request."""
    request = AWSRequest(method, "https://" + headers["host"] + path + ("?" + query if query else ""), dict(headers))
    request.headers["X-Amz-Content-SHA256"] = sha256
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    auth = kind(Credentials(key.access, key.secret, key.token or None), service, region)
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    request.context["timestamp"] = moment
    request.headers["X-Amz-Date"] = moment
    if key.token:
        request.headers["X-Amz-Security-Token"] = key.token
    # botocore leaves these out, since proxies change them; a request of ours signs what it is given.
    with mock.patch("botocore.auth.SIGNED_HEADERS_BLACKLIST", ()):
        text = auth.string_to_sign(request, auth.canonical_request(request))
        names = auth.signed_headers(auth.headers_to_sign(request))
    found = auth.signature(text, request)
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, Signature={found}"


words = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20).filter(str.strip)
headers = st.dictionaries(
    st.from_regex(r"x-amz-meta-[a-z]{1,8}|if-none-match|range|content-length", fullmatch=True), values, max_size=4
)


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"]),
    names=st.lists(words, max_size=4),
    query=st.dictionaries(words, st.one_of(words, st.just("")), max_size=4),
    given_headers=headers,
    body=st.binary(max_size=20),
    secret=words,
    token=st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9/+]{1,40}", fullmatch=True)),
    region=st.sampled_from(["us-east-1", "eu-central-1", "garage"]),
    now=st.integers(0, 4_000_000_000),
)
@example("PUT", ["a b", "~ü%2F", "..", "c"], {"uploads": "", "x y": "&=+/"}, {"range": "a   b"}, b"", "s", "t", "r", 0)
def test_as_botocore_signs(
    method: str, names: list[str], query: dict[str, str], given_headers: dict[str, str], body: bytes, secret: str,
    token: str, region: str, now: int,
) -> None:  # fmt: skip
    key, path = Key("AKID", secret, token), "/" + quoted("/".join(names), "/")
    sent, sha256 = {"host": "bucket.s3.example.org:9000", **given_headers}, hashlib.sha256(body).hexdigest()
    got = signed(key, "s3", region, method, path, list(query.items()), sent, sha256, now)
    expected = botocores(key, region, method, path, query_string(list(query.items())), sent, sha256, now)
    assert got["authorization"] == expected
    assert got.get("x-amz-security-token", "") == token


def test_another_service_signs_a_path_that_is_quoted_once_more() -> None:
    key, sent, sha256 = Key("AKID", "secret"), {"host": "route53.amazonaws.com"}, hashlib.sha256(b"<x/>").hexdigest()
    for name in ("2013-04-01/hostedzone/Z1/rrset", "a b/~ü", "%2F"):
        path = "/" + quoted(name, "/")
        got = signed(key, "route53", "us-east-1", "POST", path, [("name", "*.x")], sent, sha256, MOMENT)
        query = query_string([("name", "*.x")])
        expected = botocores(key, "us-east-1", "POST", path, query, sent, sha256, MOMENT, "route53")
        assert got["authorization"] == expected


def test_a_signing_key_is_of_one_scope() -> None:
    made = {signing_key("s", (day, region, "s3", "aws4_request")) for day in "12" for region in "ab"}
    assert len(made) == 4
