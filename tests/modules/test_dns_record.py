"""dns_record against a real name server, and in hosts files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules.cases import Case, one, previews, prove

MODULE = "network.dns_record"
SETUP = """
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null && apt-get -qy install --no-install-recommends bind9 bind9-dnsutils >/dev/null || exit 1
systemctl stop named
tsig-keygen -a hmac-sha256 t-key > /etc/bind/t.key; chgrp bind /etc/bind/t.key; chmod 640 /etc/bind/t.key
cat > /etc/bind/named.conf.local <<'CONF'
include "/etc/bind/t.key";
zone "drill.test" { type primary; file "/var/lib/bind/drill.test"; update-policy { grant t-key zonesub ANY; }; };
CONF
cat > /var/lib/bind/drill.test <<'ZONE'
$TTL 60
@ IN SOA ns.drill.test. admin.drill.test. (1 3600 600 86400 60)
@ IN NS ns
ns IN A 127.0.0.1
old IN A 192.0.2.1
other IN TXT "stays"
ZONE
chown bind: /var/lib/bind/drill.test
systemctl restart named
for n in $(seq 50); do dig +short @127.0.0.1 ns.drill.test | grep -q 127 && exit 0; sleep 0.2; done; exit 1
"""
# A resolver that knows nothing: it answers every question with an empty answer.
STALE = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 5353))
while True:
    data, peer = s.recvfrom(4096)
    end = data.index(b"\\0", 12) + 5
    s.sendto(data[:2] + b"\\x81\\x80\\0\\1\\0\\0\\0\\0\\0\\0" + data[12:end], peer)
"""


@pytest.fixture(scope="module")
def server(fleet: Mapping[str, LabHost]) -> Iterator[tuple[LabHost, str]]:
    host = fleet["bookworm"]
    host.run(SETUP, timeout=180)
    secret = host.run("sed -n 's/.*secret \"\\(.*\\)\";/\\1/p' /etc/bind/t.key").stdout.strip()
    yield host, secret
    host.run("systemctl stop named; apt-get -qy purge bind9 >/dev/null 2>&1; rm -rf /var/lib/bind /etc/bind", timeout=120)


def zone(secret: str, **values: object) -> dict[str, object]:
    return {"server": "127.0.0.1", "key_name": "t-key", "key_secret": secret, **values}


DIG = "dig +noall +answer @127.0.0.1 %s | awk '{print $1, $2, $4, $5}' | sort"
CASES = [
    Case("a new name", {"name": "new.drill.test", "value": ["192.0.2.7"], "ttl": 60}, look=DIG % "new.drill.test A",
         after="new.drill.test. 60 A 192.0.2.7", result={"before": []}),
    Case("another address", {"name": "old.drill.test", "value": ["192.0.2.2"], "wait": ["127.0.0.1"]},
         look=DIG % "old.drill.test A", after="old.drill.test. 300 A 192.0.2.2",
         result={"before": [{"ttl": 60, "value": "192.0.2.1"}]}),
    Case("another time to live", {"name": "old.drill.test", "value": ["192.0.2.2"], "ttl": 30},
         look=DIG % "old.drill.test A", after="old.drill.test. 30 A 192.0.2.2"),
    Case("two addresses", {"name": "two.drill.test", "value": ["192.0.2.9", "192.0.2.8"]}, look=DIG % "two.drill.test A",
         after="two.drill.test. 300 A 192.0.2.8\ntwo.drill.test. 300 A 192.0.2.9"),
    Case("ipv6", {"name": "two.drill.test", "type": "AAAA", "value": ["2001:DB8:0::1"]},
         look=DIG % "two.drill.test AAAA", after="two.drill.test. 300 AAAA 2001:db8::1"),
    Case("an alias", {"name": "www.drill.test", "type": "CNAME", "value": ["two.drill.test"]},
         look="dig +short @127.0.0.1 www.drill.test CNAME", after="two.drill.test."),
    Case("a text", {"name": "t.drill.test", "type": "TXT", "value": ['v=spf1 "-all" \\ end']},
         look="dig +short @127.0.0.1 t.drill.test TXT", after='"v=spf1 \\"-all\\" \\\\ end"'),
    Case("gone", {"name": "new.drill.test", "state": "absent"}, look=DIG % "new.drill.test A", after=""),
    Case("gone already", {"name": "none.drill.test", "state": "absent"}, changed=False),
    Case("no address", {"name": "x.drill.test", "value": ["192.0.2.300"]}, fails="value: '192.0.2.300' does not appear"),
    Case("another kind", {"name": "x.drill.test", "value": ["2001:db8::1"]}, fails="is no address for a record of type A"),
    Case("nothing to say", {"name": "x.drill.test"}, fails="what shall x.drill.test say?"),
    Case("two commands", {"name": "x\nserver 192.0.2.1", "value": ["192.0.2.1"]}, fails="cannot be part of a record"),
    Case("nobody answers", {"name": "x.drill.test", "value": ["192.0.2.1"], "port": 5399}, fails="does not answer"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_records(case: Case, server: tuple[LabHost, str]) -> None:
    host, secret = server
    params = zone(secret, **case.params)
    result = prove(host, MODULE, Case(**{**vars(case), "params": params}))
    assert secret not in str(result)
    assert host.run("dig +short @127.0.0.1 other.drill.test TXT").stdout == '"stays"\n'


def test_an_update_without_the_key_is_refused(server: tuple[LabHost, str]) -> None:
    host, secret = server
    for change in ({"key_secret": None}, {"key_secret": "c2VjcmV0"}, {"key_name": "other"}):
        params = {**zone(secret, name="evil.drill.test", value=["192.0.2.66"]), **change}
        result = one(host, Call(MODULE, params))
        assert result["failed"] and "evil.drill.test was not changed: " in result["msg"], result
    assert host.run("dig +short @127.0.0.1 evil.drill.test").stdout == ""


def test_an_answer_that_does_not_come_is_said(server: tuple[LabHost, str]) -> None:
    host, secret = server
    host.run(["systemd-run", "--collect", "--unit=t-stale", "python3", "-c", STALE])
    host.run("sleep 1")
    params = zone(secret, name="late.drill.test", value=["192.0.2.5"], wait=["127.0.0.1#5353"], wait_seconds=2)
    result = one(host, Call(MODULE, params))
    host.run("systemctl stop t-stale")
    assert "is changed, but after 2 s 127.0.0.1#5353 still gives another answer" in result["msg"]


def test_a_host_without_the_programs(fleet: Mapping[str, LabHost]) -> None:
    """Said as what it is; in a preview they may be what an earlier task brings."""
    host = fleet["trixie"]
    assert host.run("command -v dig", check=False).stdout == ""
    params = zone("c2VjcmV0", name="new.drill.test", value=["192.0.2.7"])
    assert "there is no dig on this host; install bind9-dnsutils" in one(host, Call(MODULE, params))["msg"]
    bring = {"name": ["bind9-dnsutils"], "update_cache": True}
    [_, result] = previews(host, [("packages.apt", bring), (MODULE, params)])
    assert result["changed"] and "192.0.2.7" in str(result["diff"]), result


HOSTS = "/srv/t-hosts"
BEFORE = f"printf '127.0.0.1 localhost\\n10.0.0.1 app.test app # ours\\n::1 app.test\\n' > {HOSTS}"
LOOK = f"cat {HOSTS}"
FILE_CASES = [
    Case("moved", {"name": "app.test", "value": ["10.0.0.2"]}, BEFORE, LOOK,
         "127.0.0.1 localhost\n10.0.0.1 app\n::1 app.test\n10.0.0.2 app.test",
         result={"before": [{"ttl": 0, "value": "10.0.0.1"}]}),
    Case("as it is", {"name": "app.test", "value": ["10.0.0.1"]}, BEFORE, LOOK, changed=False),
    Case("ipv6", {"name": "app.test", "type": "AAAA", "value": ["2001:db8::2"]}, BEFORE, LOOK,
         "127.0.0.1 localhost\n10.0.0.1 app.test app # ours\n2001:db8::2 app.test"),
    Case("gone", {"name": "app", "state": "absent"}, BEFORE, LOOK,
         "127.0.0.1 localhost\n10.0.0.1 app.test\n::1 app.test"),
    Case("no alias", {"name": "app", "type": "CNAME", "value": ["x"]}, BEFORE, fails="has addresses only, no CNAME"),
]  # fmt: skip


@pytest.mark.parametrize("case", FILE_CASES, ids=str)
def test_hosts_file(case: Case, bookworm: LabHost) -> None:
    prove(bookworm, MODULE, Case(**{**vars(case), "params": {**case.params, "provider": "hosts", "path": HOSTS}}))
