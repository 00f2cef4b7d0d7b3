"""Records of a zone in Route 53: looked up, changed, and waited for until every one of its servers has them.

https://docs.aws.amazon.com/Route53/latest/APIReference/
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent.aws import Answer, Body, Client, not_let_in
from opsplay.agent.aws_endpoint import Endpoint, Failure
from opsplay.agent.aws_signature import Key, NoKey, key_of
from opsplay.agent.host import Host
from opsplay.agent.spec import Params

ENDPOINT = "https://route53.amazonaws.com"
VERSION = "2013-04-01"
SPACE = "https://route53.amazonaws.com/doc/%s/" % VERSION
# Seconds between two looks at a change: an account may ask five times a second, for all that it does.
POLL = 2.0
CHANGE = """<?xml version="1.0" encoding="UTF-8"?>
<ChangeResourceRecordSetsRequest xmlns="%s"><ChangeBatch><Changes><Change><Action>%s</Action><ResourceRecordSet>\
<Name>%s</Name><Type>%s</Type><TTL>%d</TTL><ResourceRecords>%s</ResourceRecords></ResourceRecordSet></Change></Changes>\
</ChangeBatch></ChangeResourceRecordSetsRequest>"""


class Refused(Failure):
    """The service said no, with this code of its own (empty where there was none)."""

    def __init__(self, message: str, code: str) -> None:
        Failure.__init__(self, message)
        self.code = code


class Zones(Client):
    """Route 53 itself."""

    service = "route53"
    speaks = "Route 53"
    # One page of what is asked for here has some kilobytes.
    answer_most = 1 << 20

    def path(self, name: str) -> str:
        return "/%s/%s" % (VERSION, name)

    def refused(self, answer: Answer, code: str, name: str, action: str) -> Exception:
        url, access = self._endpoint.url, self._key.access
        outside = not_let_in(answer, code, access, url)
        if outside:
            return Refused(outside, code)
        told = answer.said("Message") or batch_messages(answer) or "no reason is given"
        if code == "NoSuchHostedZone":
            return Refused("%s has no such zone (%s); look at zone, and whose access_key it is" % (url, told), code)
        if answer.status == 403:
            return Refused("the access key %s may not do this: allow %s (%s)" % (access, action, told), code)
        return Refused("%s refuses %s: %s (%s)" % (url, action, told, code or "status %d" % answer.status), code)


def batch_messages(answer: Answer) -> str:
    """What is wrong with a change: an answer of its own shape. Empty for another one."""
    try:
        root = answer.tree()
    except ValueError:
        return ""
    return "; ".join(each.text or "" for each in root.iter("Message")) if root.tag == "InvalidChangeBatch" else ""


def opened(host: Host, params: Params) -> Zones:
    """The way to the service. Fails for credentials that lack, raises Failure for what is no endpoint."""
    endpoint = Endpoint(params.endpoint or ENDPOINT)
    if not endpoint.secure:
        host.warn("%s has no TLS: whoever is on the way can change the answer" % endpoint.url)
    if params.credentials:
        try:
            key = key_of(host.expand(params.credentials))
        except NoKey as problem:
            raise Failure(str(problem)) from None
    elif params.access_key and params.secret_key:
        key = Key(params.access_key, params.secret_key, params.session_token or "")
    else:
        host.fail("give access_key and secret_key, or credentials (a file on this host that holds them)")
    ca_file = host.expand(params.ca_file) if params.ca_file else ""
    return Zones(endpoint, key, params.region, ca_file, params.timeout, params.retries)


# --- which zone ---


def zone_of(client: Zones, params: Params) -> str:
    """The id of the zone that is named, or of the longest public one that holds the name. Raises Failure."""
    import re

    given = (params.zone or "").rpartition("/hostedzone/")[2]
    if re.fullmatch("[A-Z0-9]{10,32}", given) or (given and given != params.zone):
        return identifier(given)
    labels = (params.zone or params.name).rstrip(".").split(".")
    for start in range(1 if params.zone else len(labels)):
        name = ".".join(labels[start:]) + "."
        found = public_zones(client, name)
        if len(found) > 1:
            text = "there are several public zones %s; give the id of one as zone: %s"
            raise Failure(text % (name, ", ".join(found)))
        if found:
            return found[0]
    wanted = "%s (a private one is given by its id)" % params.zone if params.zone else "that holds %s" % params.name
    raise Failure("the account of the access key %s has no public zone %s" % (client.access, wanted))


def public_zones(client: Zones, name: str) -> List[str]:
    """The ids of the public zones of exactly this name. Raises Failure."""
    page = client.page("GET", "hostedzonesbyname", "route53:ListHostedZonesByName", [("dnsname", name)])
    found = []
    for each in page.iter("HostedZone"):
        private = (each.findtext("Config/PrivateZone") or "false") == "true"
        if unescaped(each.findtext("Name") or "") == name.lower() and not private:
            found.append(identifier((each.findtext("Id") or "").rpartition("/")[2]))
    return found


def identifier(text: str) -> str:
    """An id that may be part of a path. Raises Failure."""
    import re

    if not re.fullmatch("[A-Za-z0-9]{1,64}", text):
        raise Failure("%r is no id of Route 53" % text[:80])
    return text


# --- records ---


class Record:
    """A record set as the service has it: its time to live and its values, as it writes them."""

    def __init__(self, ttl: int, values: List[str]) -> None:
        self.ttl = ttl
        self.values = values


def looked_up(client: Zones, zone: str, name: str, kind: str) -> Optional[Record]:
    """The record set of a name and kind; None when there is none. Raises Failure, also for one that is not plain."""
    query = [("name", name), ("type", kind), ("maxitems", "1")]
    page = client.page("GET", "hostedzone/%s/rrset" % zone, "route53:ListResourceRecordSets", query)
    # What follows in the zone's order comes where there is none.
    for each in page.iter("ResourceRecordSet"):
        if unescaped(each.findtext("Name") or "") != name.lower() or each.findtext("Type") != kind:
            continue
        for sign, what in (("AliasTarget", "an alias of %s" % (each.findtext("AliasTarget/DNSName") or "something")),
                           ("SetIdentifier", "one of several that a routing policy chooses from"),
                           ("TrafficPolicyInstanceId", "made by a traffic policy")):  # fmt: skip
            if each.find(sign) is not None:
                text = "%s %s is %s: it could not be put back as it was, and stays; remove it by hand first"
                raise Failure(text % (name, kind, what))
        ttl = each.findtext("TTL") or ""
        if not ttl.isdigit() or len(ttl) > 10:
            raise Failure("%s %s has the time to live %r, which is none" % (name, kind, ttl[:20]))
        return Record(int(ttl), [value.text or "" for value in each.findall("ResourceRecords/ResourceRecord/Value")])
    return None


def change(client: Zones, zone: str, action: str, name: str, kind: str, record: Record) -> Tuple[str, bool]:
    """UPSERT or DELETE a record set: the change's id, and whether it is INSYNC already. Raises Failure."""
    from xml.sax.saxutils import escape

    values = "".join("<ResourceRecord><Value>%s</Value></ResourceRecord>" % escape(value) for value in record.values)
    text = CHANGE % (SPACE, action, escape(name), kind, record.ttl, values)
    allowed = "route53:ChangeResourceRecordSets"
    headers = {"content-type": "application/xml"}
    page = client.page("POST", "hostedzone/%s/rrset/" % zone, allowed, (), headers, Body.of(text.encode()))
    return identifier((page.findtext("ChangeInfo/Id") or "").rpartition("/")[2]), is_in_sync(page)


def is_in_sync(page: Any) -> bool:
    return bool(page.findtext("ChangeInfo/Status") == "INSYNC")


def await_sync(host: Host, client: Zones, number: str, seconds: float) -> None:
    """Until every server of the zone has a change. Raises Failure when the time is over."""
    deadline = time.monotonic() + seconds
    while not is_in_sync(client.page("GET", "change/%s" % number, "route53:GetChange")):
        if time.monotonic() > deadline:
            text = "the change %s is taken, but after %g s it is not INSYNC: some servers give the old answer"
            raise Failure(text % (number, seconds))
        host.progress("waiting for the change %s to be INSYNC" % number)
        time.sleep(min(POLL, max(0.0, deadline - time.monotonic()) + 0.01))


# --- how values are written ---


def unescaped(name: str) -> str:
    r"""A name in lower case, its octal escapes (\052 for *) resolved."""
    import re

    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), name).lower()


def written(text: str) -> str:
    """A text as the value of a TXT record: strings of at most 255 bytes, other bytes than ASCII's in octal."""
    data = text.encode("utf-8", "surrogateescape")
    strings = [data[at : at + 255] for at in range(0, len(data), 255)] or [b""]
    return " ".join('"%s"' % "".join(char_of(byte) for byte in string) for string in strings)


def char_of(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 32 <= byte < 127 else "\\%03o" % byte


def text_of(value: str) -> str:
    """The text of a TXT record's value, however it is cut into strings."""
    import re

    found = bytearray()
    for string in re.findall(r'"((?:[^"\\]|\\.)*)"', value):
        for octal, escaped, plain in re.findall(r"\\([0-3][0-7]{2})|\\(.)|([^\\]+)", string):
            found += bytes([int(octal, 8)]) if octal else (escaped or plain).encode("utf-8")
    return found.decode("utf-8", "surrogateescape")


def same(kind: str, one: List[str], other: List[str]) -> bool:
    """Whether two lists of values say the same, in whatever order and spelling."""
    return sorted(plain(kind, value) for value in one) == sorted(plain(kind, value) for value in other)


def plain(kind: str, value: str) -> str:
    import ipaddress

    if kind == "TXT":
        return text_of(value)
    if kind in ("A", "AAAA"):
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            return value
    # Where no dot ends a name, the service takes it as if one did.
    return unescaped(" ".join(value.split()).rstrip(".") + ".")


def records(record: Optional[Record]) -> List[Dict[str, Any]]:
    """As nsupdate's way returns them."""
    return [{"ttl": record.ttl, "value": value} for value in record.values] if record is not None else []
