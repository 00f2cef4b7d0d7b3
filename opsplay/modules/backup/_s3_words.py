"""What an endpoint's refusal means, and what to do about it."""

from __future__ import annotations

from typing import Any

from opsplay.agent.aws import Answer, not_let_in

REGION_WRONG = ("AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect")
CHANGED = ("BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest")


def explained(answer: Answer, code: str, access: str, address: Any, name: str, action: str) -> str:
    """A refusal in plain words: what, where, what to do. `name` is the object's, empty for the bucket."""
    where = "%s/%s" % (address.bucket, name) if name else "the bucket %s" % address.bucket
    outside = not_let_in(answer, code, access, address.url)
    if outside:
        return outside
    if code == "NoSuchBucket":
        return "%s has no bucket %s: make it, or give another one" % (address.url, address.bucket)
    region = answer.headers.get("x-amz-bucket-region") or answer.said("Region")
    if code in REGION_WRONG or (answer.status in (301, 307) and not code):
        there = "region: %s" % region if region else "its region, or its own endpoint (%s)" % answer.said("Endpoint")
        return "%s is not served by %s: give %s" % (where, address.url, there)
    if code in CHANGED:
        return "%s was damaged on its way: the endpoint found another sha256 and kept nothing; run again" % where
    if answer.status == 403:
        return "the access key %s may not do this: allow %s on %s" % (access, action, where)
    if answer.status == 404:
        return "%s is not there (%s)" % (where, code or "404")
    told = answer.said("Message") or "no reason is given"
    return "%s, asked for %s on %s, answers %d %s: %s" % (address.url, action, where, answer.status, code, told)
