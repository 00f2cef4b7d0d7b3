"""Point a name somewhere: in a DNS zone by a signed dynamic update (nsupdate), in Route 53, or in the hosts file.

What was there is returned as `before`, to go back to, and as `differs` whether it is another value than wanted. With
`wait` the task ends when every server that is named gives the new answer. A record that is as wanted is not touched.
With Route 53 the task ends when the service says that all of its servers have the change (INSYNC); a record that is an
alias, or one of several of a routing policy, is refused and stays. Its access key needs `route53:ListHostedZonesByName`
(unless `zone` is an id), `ListResourceRecordSets`, `ChangeResourceRecordSets` and `GetChange`.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Float, Int, Params, Path, Str
from opsplay.agent.spec import List as Listing

PARAMS = {
    "name": Str(required=True, help="The name, such as www.example.com"),
    "type": Choice("A", "AAAA", "CNAME", "MX", "TXT", default="A", help="The kind of record"),
    "value": Listing(of=Str(), default=[], help="What it says; several for several addresses; MX: `10 mx.example.com`"),
    "ttl": Int(min=0, max=604800, default=300, help="Seconds for which others may remember it"),
    "state": Choice("present", "absent", default="present", help="Whether there is such a record"),
    "provider": Choice("nsupdate", "route53", "hosts", default="nsupdate", help="Where the name lives"),
    "server": Str(help="nsupdate: the zone's primary server"),
    "port": Int(min=1, max=65535, default=53, help="nsupdate: its port"),
    "zone": Str(help="The zone. Default: what the server says of the name. route53: its name or its id; by default the "
                "longest public one that holds the name"),
    "key_name": Str(help="nsupdate: the name of the TSIG key"),
    "key_secret": Str(secret=True, help="nsupdate: the key's secret, in base64"),
    "key_algorithm": Str(default="hmac-sha256", help="nsupdate: the key's algorithm"),
    "access_key": Str(help="route53: the access key's id"),
    "secret_key": Str(secret=True, help="route53: its secret: it is on no command line and never written to a disk"),
    "session_token": Str(secret=True, help="route53: the token of temporary credentials"),
    "credentials": Path(help="route53: a file on this host in place of them, in the form of ~/.aws/credentials: its "
                        "[default]"),
    "endpoint": Str(help="route53: its address, where that is not https://route53.amazonaws.com (another partition)"),
    "region": Str(default="us-east-1", help="route53: the region that requests are signed for: the partition's own"),
    "ca_file": Path(help="route53: certificates (PEM, on this host) that vouch for it, in place of the system's"),
    "timeout": Int(default=30, min=1, help="route53: seconds that it may be silent"),
    "retries": Int(default=5, min=0, max=20, help="route53: how often a request is repeated that it could not serve"),
    "path": Path(default="/etc/hosts", help="hosts: the file"),
    "wait": Listing(of=Str(), default=[], help="Servers (ADDRESS or ADDRESS#PORT) that have to give the new answer"),
    "wait_seconds": Float(default=360, help="How long they, or INSYNC, are waited for"),
}  # fmt: skip
CHECK = "exact"
EXCLUSIVE = (("credentials", "secret_key"), ("credentials", "access_key"), ("credentials", "session_token"))
POLL = 1.0


def run(host: Host, params: Params) -> Dict[str, Any]:
    refuse(host, params)
    if params.provider == "hosts":
        return in_file(host, params)
    if params.provider == "route53":
        return in_route53(host, params)
    if not params.server:
        host.fail("provider nsupdate needs the server of the zone")
    where = "%s#%d" % (params.server, params.port)
    for program in ("dig", "nsupdate"):
        if host.which(program) is None:
            return without_programs(host, params, program)
    before = answer(host, where, params)
    wanted = sorted(normal(value, params.type) for value in params.value) if params.state == "present" else []
    same = sorted(line["value"] for line in before) == wanted
    if same and all(line["ttl"] == params.ttl for line in before):
        return host.outcome(before=before, differs=False)
    after = [{"ttl": params.ttl, "value": value} for value in wanted]
    host.note(shown(params, before), shown(params, after), params.name)
    host.changed = True
    if host.check:
        return host.outcome(before=before, differs=not same)
    update(host, params, wanted)
    await_answers(host, params, wanted, [where] + params.wait)
    return host.outcome(before=before, differs=not same)


def without_programs(host: Host, params: Params, program: str) -> Dict[str, Any]:
    """In the preview of a host where an earlier task would bring them, what would be wanted. Fails otherwise."""
    if not host.check or not host.shadow.brings_unknown_files:
        host.fail("there is no %s on this host; install bind9-dnsutils" % program)
    wanted = [normal(value, params.type) for value in params.value] if params.state == "present" else []
    host.note("", shown(params, [{"ttl": params.ttl, "value": value} for value in wanted]), params.name)
    host.changed = True
    host.unknown("before", "differs")
    return host.outcome()


def refuse(host: Host, params: Params) -> None:
    """What cannot be a record."""
    import ipaddress

    if params.state == "present" and not params.value:
        host.fail("what shall %s say? Give value" % params.name)
    for text in [params.name] + (params.value if params.type not in ("TXT", "MX") else []):
        if any(char.isspace() or char in "\"';\\" for char in text):
            host.fail("%r cannot be part of a record" % text)
    for value in params.value:
        if params.type in ("A", "AAAA"):
            try:
                found = ipaddress.ip_address(value)
            except ValueError as problem:
                host.fail("value: %s" % problem)
            if found.version != (4 if params.type == "A" else 6):
                host.fail("%s is no address for a record of type %s" % (value, params.type))
        elif "\n" in value:
            host.fail("a record cannot hold a line end")
        elif params.type == "MX" and not is_mail_exchange(value):
            host.fail("%r is no mail exchange; write it as `10 mail.example.com`" % value)
        elif params.type == "CNAME" and len(params.value) > 1:
            host.fail("a CNAME leads to one name, not to %s" % " and ".join(params.value))
    if params.provider == "hosts" and params.type not in ("A", "AAAA"):
        host.fail("a hosts file has addresses only, no %s" % params.type)


def is_mail_exchange(value: str) -> bool:
    import re

    found = re.match(r"([0-9]{1,5}) [^\s\"';\\]+\Z", value)
    return found is not None and int(found.group(1)) < 65536


def normal(value: str, kind: str) -> str:
    """A value as servers write it."""
    import ipaddress

    if kind in ("A", "AAAA"):
        return str(ipaddress.ip_address(value))
    if kind in ("CNAME", "MX"):
        return value.rstrip(".").lower() + "."
    return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')


def answer(host: Host, where: str, params: Params) -> List[Dict[str, Any]]:
    """What a server says of the name, with its time to live. Fails when it does not answer."""
    server, _, port = where.partition("#")
    argv = ["dig", "@" + server, "-p", port or "53", "+noall", "+answer", "+norecurse", "+tries=2", "+time=3"]
    if where != "%s#%d" % (params.server, params.port):
        argv.remove("+norecurse")
    done = host.query(argv + [fqdn(params.name), params.type], timeout=15)
    if done.rc != 0:
        said = " ".join((done.stdout + done.stderr).replace(";;", "").split()) or done.error
        host.fail("the server %s does not answer: %s" % (where, said))
    found = []
    for line in done.stdout.split("\n"):
        words = line.split(None, 4)
        if len(words) == 5 and words[3] == params.type and words[0].lower() == fqdn(params.name).lower():
            value = words[4].lower() if params.type in ("CNAME", "MX") else words[4]
            found.append({"ttl": int(words[1]), "value": value})
    return found


def fqdn(name: str) -> str:
    return name.rstrip(".") + "."


def update(host: Host, params: Params, wanted: List[str]) -> None:
    """One signed update: old records go and new ones come in the same moment. Fails with the server's words."""
    lines = ["server %s %d" % (params.server, params.port)]
    if params.key_secret:
        if not params.key_name:
            host.fail("key_secret needs key_name")
        lines.append("key %s:%s %s" % (params.key_algorithm, params.key_name, params.key_secret))
    if params.zone:
        lines.append("zone %s" % fqdn(params.zone))
    lines.append("update delete %s %s" % (fqdn(params.name), params.type))
    for value in wanted:
        lines.append("update add %s %d %s %s" % (fqdn(params.name), params.ttl, params.type, value))
    done = host.query(["nsupdate", "-t", "15"], stdin=("\n".join(lines + ["send", ""])).encode(), timeout=30)
    if done.rc != 0:
        said = done.stderr.strip() or done.stdout.strip() or done.error or "exit code %d" % done.rc
        host.fail("%s was not changed: %s" % (params.name, said))


def await_answers(host: Host, params: Params, wanted: List[str], servers: List[str]) -> None:
    """Until every server gives the new answer. Fails when the time is over."""
    deadline = time.monotonic() + params.wait_seconds
    for where in servers:
        while sorted(line["value"] for line in answer(host, where, params)) != wanted:
            if time.monotonic() > deadline:
                text = "%s is changed, but after %g s %s still gives another answer"
                host.fail(text % (params.name, params.wait_seconds, where))
            host.progress("waiting for %s to give the new answer" % where)
            time.sleep(POLL)


def shown(params: Params, lines: List[Dict[str, Any]]) -> str:
    ordered = sorted(lines, key=lambda line: str(line["value"]))
    return "".join("%s %d %s %s\n" % (params.name, line["ttl"], params.type, line["value"]) for line in ordered)


# --- Route 53 ---


def in_route53(host: Host, params: Params) -> Dict[str, Any]:
    """The record set of the name in its zone. Fails with what the service said."""
    from opsplay.agent.aws_endpoint import Failure
    from opsplay.modules.network import _route53 as route53

    client = None
    try:
        client = route53.opened(host, params)
        zone = route53.zone_of(client, params)
        found = route53.looked_up(client, zone, fqdn(params.name), params.type)
        wanted = route53_values(params)
        before = route53.records(found)
        same = route53.same(params.type, found.values if found is not None else [], wanted)
        if same and (found is None or found.ttl == params.ttl):
            return host.outcome(before=before, differs=False, zone=zone)
        after = [{"ttl": params.ttl, "value": value} for value in wanted]
        host.note(shown(params, before), shown(params, after), params.name)
        host.changed = True
        if not host.check:
            change_route53(host, client, params, zone, found, wanted)
    except Failure as problem:
        host.fail("%s: %s" % (params.name, problem))
    finally:
        if client is not None:
            client.close()
    return host.outcome(before=before, differs=not same, zone=zone)


def route53_values(params: Params) -> List[str]:
    from opsplay.modules.network import _route53 as route53

    if params.state == "absent":
        return []
    write = route53.written if params.type == "TXT" else lambda value: normal(value, params.type)
    return sorted(write(value) for value in params.value)


def change_route53(host: Host, client: Any, params: Params, zone: str, found: Any, wanted: List[str]) -> None:
    """Change it, and wait for INSYNC and for the servers that are named. Raises Failure."""
    from opsplay.modules.network import _route53 as route53

    name = fqdn(params.name)
    # What goes is named exactly as it is there.
    action, record = ("UPSERT", route53.Record(params.ttl, wanted)) if wanted else ("DELETE", found)
    try:
        number, is_there = route53.change(client, zone, action, name, params.type, record)
    except route53.Refused:
        # The answer to a removal was lost, and the repetition finds nothing to remove.
        if wanted or route53.looked_up(client, zone, name, params.type) is not None:
            raise
        host.warn("%s is gone; its change was lost with an answer, so nobody knows when it is INSYNC" % params.name)
        return
    if not is_there:
        route53.await_sync(host, client, number, params.wait_seconds)
    if params.wait:
        if host.which("dig") is None:
            host.fail("%s is changed; to ask %s there is no dig on this host" % (params.name, ", ".join(params.wait)))
        answers = sorted(normal(value, params.type) for value in params.value) if wanted else []
        await_answers(host, params, answers, params.wait)


# --- the hosts file ---


def in_file(host: Host, params: Params) -> Dict[str, Any]:
    """The name's lines in the hosts file; those of other names and of the other family stay as they are."""
    path = host.real(params.path)
    text = host.read(path).decode("utf-8", "surrogateescape") if host.exists(path) else ""
    kept, before = [], []  # type: List[str], List[Dict[str, Any]]
    for line in text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []:
        address, names = fields(line)
        if params.name in names and (":" in address) == (params.type == "AAAA"):
            before.append({"ttl": 0, "value": address})
            names = [name for name in names if name != params.name]
            line = "%s %s" % (address, " ".join(names)) if names else ""
            if not line:
                continue
        kept.append(line)
    values = [normal(value, params.type) for value in params.value] if params.state == "present" else []
    differs = sorted(line["value"] for line in before) != sorted(values)
    if differs:
        kept += ["%s %s" % (value, params.name) for value in values]
        host.write(path, "".join(line + "\n" for line in kept).encode("utf-8", "surrogateescape"))
    return host.outcome(before=before, differs=differs)


def fields(line: str) -> Any:
    """The address of a line and its names; empty for a comment."""
    words = line.partition("#")[0].split()
    return (words[0], words[1:]) if len(words) > 1 else ("", [])
