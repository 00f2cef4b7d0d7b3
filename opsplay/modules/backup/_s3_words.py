"""What an endpoint's refusal means, and what to do about it."""

from __future__ import annotations

import time
from typing import Any, Optional, Tuple

KEY_WRONG = ("InvalidAccessKeyId", "InvalidClientTokenId")
TOKEN_WRONG = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
CLOCK_WRONG = ("RequestTimeTooSkewed", "RequestExpired")
REGION_WRONG = ("AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect")
CHANGED = ("BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest")
# Seconds by which a clock may be wrong before it is suspected: S3 accepts up to 15 minutes.
SKEW = 600


def explained(
    answer: Any, code: str, access: str, address: Any, name: str, action: str, behind: Optional[float]
) -> str:
    """A refusal in plain words: what, where, what to do. `name` is the object's, empty for the bucket."""
    where = "%s/%s" % (address.bucket, name) if name else "the bucket %s" % address.bucket
    if code in CLOCK_WRONG or (answer.status == 403 and behind is not None and abs(behind) > SKEW):
        return "%s refuses the time of the request: %s; set this host's clock" % (address.url, clock(behind))
    if code in KEY_WRONG:
        return "%s knows no access key %s: give another access_key" % (address.url, access)
    if code == "SignatureDoesNotMatch":
        told = "%s does not accept the signature: secret_key is not that of the access key %s, or region is another"
        return told % (address.url, access)
    if code in TOKEN_WRONG:
        return "%s does not accept session_token: it has expired or belongs to another key; get new ones" % address.url
    if code == "NoSuchBucket":
        return "%s has no bucket %s: make it, or give another one" % (address.url, address.bucket)
    region = answer.headers.get("x-amz-bucket-region") or said(answer, "Region")
    if code in REGION_WRONG or (answer.status in (301, 307) and not code):
        there = "region: %s" % region if region else "its region, or its own endpoint (%s)" % said(answer, "Endpoint")
        return "%s is not served by %s: give %s" % (where, address.url, there)
    if code in CHANGED:
        return "%s was damaged on its way: the endpoint found another sha256 and kept nothing; run again" % where
    if answer.status == 403:
        return "the access key %s may not do this: allow %s on %s" % (access, action, where)
    if answer.status == 404:
        return "%s is not there (%s)" % (where, code or "404")
    told = said(answer, "Message") or "no reason is given"
    return "%s, asked for %s on %s, answers %d %s: %s" % (address.url, action, where, answer.status, code, told)


def said(answer: Any, tag: str) -> str:
    """A part of the answer's own explanation; empty where there is none."""
    from opsplay.modules.backup._store import StoreError

    try:
        return str(answer.tree().findtext(tag) or "")
    except StoreError:
        return ""


def seconds_behind(date: str) -> Optional[float]:
    """By how much this host's clock is behind an answer's date; None where that is unreadable."""
    from email.utils import mktime_tz, parsedate_tz

    parsed = parsedate_tz(date) if date else None
    return mktime_tz(parsed) - time.time() if parsed else None


def clock(behind: Optional[float]) -> str:
    here = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if behind is None or abs(behind) < 60:
        return "it is %s here" % here
    return "it is %s here, %d minutes %s" % (here, abs(behind) // 60, "behind" if behind > 0 else "ahead")


def reason(problem: Exception, url: str, ca_file: str) -> Tuple[bool, str]:
    """Whether another attempt would end the same way, and why there is no connection."""
    import ssl

    told = getattr(problem, "verify_message", "") or getattr(problem, "strerror", "")
    told = str(told or problem or type(problem).__name__)
    # Python 3.6 has an exception of its own for a certificate of another name, which is no SSLError.
    if "not valid for" in told or (type(problem).__name__ == "CertificateError" and not isinstance(problem, OSError)):
        return True, "%s shows a certificate for another name: %s" % (url, told)
    if isinstance(problem, ssl.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(problem):
        remedy = "%s does not vouch for it" % ca_file if ca_file else "give ca_file where the CA is your own"
        return True, "%s shows a certificate that is not trusted (%s): %s" % (url, told, remedy)
    if isinstance(problem, ssl.SSLError) and ("WRONG_VERSION_NUMBER" in str(problem) or "HTTP_REQUEST" in str(problem)):
        return True, "%s speaks no TLS there: give an endpoint with http:// where that is wanted" % url
    return False, told
