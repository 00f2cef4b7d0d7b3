"""What an answer must be: status, headers, text, and values within JSON."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.modules.health._exchange import Reply

MISSING = object()
SHOWN_MOST = 200


def failures(reply: Reply, params: Any) -> List[str]:
    """What an answer lacks, one sentence each."""
    found = []
    if reply.status not in params.status:
        wanted = " or ".join(str(status) for status in params.status)
        found.append("the status is %d and not %s: %s" % (reply.status, wanted, excerpt(reply.body)))
    for name, wanted in sorted(params.expect_headers.items()):
        there = reply.headers.get(name.lower())
        if there is None or wanted.lower() not in there.lower():
            found.append("the header %s is %r and does not hold %r" % (name, there, wanted))
    if len(reply.body) < params.min_size:
        found.append("the answer has %d bytes, at least %d were expected" % (len(reply.body), params.min_size))
    if params.contains and params.contains.encode() not in reply.body:
        found.append("the answer does not hold %r: %s" % (params.contains, excerpt(reply.body)))
    if params.lacks and params.lacks.encode() in reply.body:
        found.append("the answer holds %r" % params.lacks)
    if params.json or params.json_max_age or params.json_not_empty:
        found += json_failures(reply, params)
    return found


def json_failures(reply: Reply, params: Any) -> List[str]:
    """What the document within an answer lacks."""
    import json

    try:
        document = json.loads(reply.body.decode("utf-8", "replace"))
    except ValueError:
        return ["the answer is no JSON: %s" % excerpt(reply.body)]
    found = []
    for path, wanted in sorted(params.json.items()):
        there = at(document, path)
        if there is MISSING:
            found.append("%s is missing in the answer" % path)
        elif there != wanted:
            found.append("%s is %s and not %s" % (path, json.dumps(there)[:SHOWN_MOST], json.dumps(wanted)))
    for path in params.json_not_empty:
        there = at(document, path)
        if there is MISSING or there in (None, "", [], {}):
            found.append("%s is %s" % (path or "the answer", "missing" if there is MISSING else "empty"))
    for path, most in sorted(params.json_max_age.items()):
        found += age_failures(path, at(document, path), most)
    return found


def age_failures(path: str, there: Any, most: float) -> List[str]:
    """Whether a time within an answer (seconds since 1970, or ISO 8601) is older than allowed."""
    import time

    moment = seconds_of(there)
    if moment is None:
        return ["%s is no time: %r" % (path, None if there is MISSING else there)]
    age = time.time() - moment
    return ["%s is %.0f s old, at most %g s are allowed" % (path, age, most)] if age > most else []


def seconds_of(value: Any) -> Any:
    """A time as seconds since 1970; None for what is none. A text without a zone is taken as UTC."""
    import calendar
    import re
    import time

    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # Some count in milliseconds.
        return value / 1000.0 if value > 1e11 else float(value)
    match = re.match(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|[+-]\d\d:?\d\d)?$", str(value))
    if not match:
        return None
    moment = float(calendar.timegm(time.strptime("%sT%s" % match.group(1, 2), "%Y-%m-%dT%H:%M:%S")))
    zone = match.group(4) or "Z"
    if zone != "Z":
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        moment -= minutes * 60 * (1 if zone[0] == "+" else -1)
    return moment + float(match.group(3) or 0)


def at(document: Any, path: str) -> Any:
    """The value at a path such as `checks.0.status`; MISSING where there is none, the document for an empty path."""
    for word in path.split(".") if path else []:
        if isinstance(document, dict) and word in document:
            document = document[word]
        elif isinstance(document, list) and word.isdigit() and int(word) < len(document):
            document = document[int(word)]
        else:
            return MISSING
    return document


def excerpt(body: bytes) -> str:
    """The beginning of an answer on one line."""
    text = " ".join(body[: SHOWN_MOST * 4].decode("utf-8", "replace").split())
    return text[:SHOWN_MOST] or "it is empty"


def percentile(values: List[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    import math

    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def summary(times: List[Dict[str, float]]) -> Dict[str, Any]:
    """Milliseconds over all samples."""
    totals = [sample["total"] for sample in times]
    return {
        "samples": len(totals),
        "p50_ms": percentile(totals, 0.5),
        "p95_ms": percentile(totals, 0.95),
        "max_ms": max(totals),
    }
