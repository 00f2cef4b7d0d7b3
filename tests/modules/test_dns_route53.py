"""dns_record in Route 53: moto's server, which checks each signature and right, and a way there on which all goes wrong."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from opsplay.agent import aws
from opsplay.modules.network import _route53
from tests.modules.harness import run
from tests.modules.s3server import ROOT, Endpoint, Fault, Way, serving, way_to

MODULE = "network.dns_record"
ERROR = "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>"
LONG = "k=rsa; p=" + "A" * 300


def zones(here: Endpoint) -> None:
    """drill.test, beside it a private zone of the same name; below it a zone of its own; one that is there twice."""
    client = here.client("route53")
    private = {"VPC": {"VPCRegion": "us-east-1", "VPCId": "vpc-1"}, "HostedZoneConfig": {"PrivateZone": True}}
    for name, more in (("drill.test", {}), ("drill.test", private), ("sub.drill.test", {}), ("twice.test", {}),
                       ("twice.test", {})):  # fmt: skip
        made = client.create_hosted_zone(Name=name, CallerReference=str(len(here.zones)), **more)["HostedZone"]["Id"]
        here.zones.append(made)


@dataclass
class Site:
    """A zone behind a way that can be harmed."""

    endpoint: Endpoint
    way: Way
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def zone(self) -> str:
        return self.endpoint.zones[0].rpartition("/")[2]

    def record(self, name: str, *value: str, check: bool = False, **change: Any) -> dict[str, Any]:
        known = {"name": name, "value": list(value), "provider": "route53", "endpoint": self.way.url, "retries": 2,
                 **self.endpoint.keys["names"], **change}  # fmt: skip
        return run(MODULE, {name: value for name, value in known.items() if value is not None}, check=check)

    def has(self, zone: int = 0) -> dict[tuple[str, str], tuple[int, list[str]]]:
        """What an administrator sees: time to live and values, by name and kind."""
        client = self.endpoint.client("route53", self.endpoint.keys["look"])
        client.meta.events.register("before-sign.route53", hashed)
        found = client.list_resource_record_sets(HostedZoneId=self.endpoint.zones[zone])["ResourceRecordSets"]
        return {(one["Name"], one["Type"]): (one["TTL"], [each["Value"] for each in one["ResourceRecords"]])
                for one in found if one["Type"] not in ("NS", "SOA")}  # fmt: skip


def hashed(request: Any, **_: Any) -> None:
    """moto compares signatures of requests without a body by this header alone."""
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(request.body or b"").hexdigest()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with serving("127.0.0.1", zones) as running:
        yield running


@pytest.fixture
def site(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(aws, "PAUSE_FIRST", 0.01)
    monkeypatch.setattr(_route53, "POLL", 0.01)
    with way_to(endpoint) as way:
        yield Site(endpoint, way)


# name, type, values, ttl, what is there then, what was there before
CASES = [
    ("www.drill.test", "A", ["192.0.2.7"], 60, ["192.0.2.7"], []),
    ("www.drill.test", "A", ["192.0.2.8", "192.0.2.7"], 60, ["192.0.2.7", "192.0.2.8"], ["192.0.2.7"]),
    ("www.drill.test", "A", ["192.0.2.8", "192.0.2.7"], 30, ["192.0.2.7", "192.0.2.8"], ["192.0.2.7", "192.0.2.8"]),
    ("www.drill.test", "AAAA", ["2001:DB8:0::1"], 300, ["2001:db8::1"], []),
    ("alias.drill.test", "CNAME", ["WWW.drill.test"], 300, ["www.drill.test."], []),
    ("drill.test", "MX", ["10 mx1.drill.test", "20 MX2.drill.test."], 300, ["10 mx1.drill.test.", "20 mx2.drill.test."], []),
    ("*.drill.test", "A", ["192.0.2.9"], 300, ["192.0.2.9"], []),
    ("t.drill.test", "TXT", ['v=spf1 "-all" \\ <&> end', "grün"], 300,
     ['"gr\\303\\274n"', '"v=spf1 \\"-all\\" \\\\ <&> end"'], []),
    ("t.drill.test", "TXT", [LONG], 300, [f'"{LONG[:255]}" "{LONG[255:]}"'],
     ['"gr\\303\\274n"', '"v=spf1 \\"-all\\" \\\\ <&> end"']),
]  # fmt: skip


def test_records(site: Site) -> None:
    """Previewed, done, done again; each beside those before it."""
    for name, kind, values, ttl, after, before in CASES:
        given = {"type": kind, "ttl": ttl}
        known = site.has()
        preview = site.record(name, *values, check=True, **given)
        assert site.has() == known and preview["changed"], preview
        done = site.record(name, *values, **given)
        assert not done.get("failed"), done
        assert done["changed"] and done["diff"] == preview["diff"] and done["zone"] == site.zone
        assert [one["value"] for one in done["before"]] == [one["value"] for one in preview["before"]] == before
        assert done["differs"] is (after != before)
        assert site.has() == {**known, (name + ".", kind): (ttl, after)}
        again = site.record(name, *reversed(values), **given)
        assert not again["changed"] and not again["differs"], again
    assert "has no TLS" in done["warnings"][0]


def test_a_record_goes(site: Site) -> None:
    site.record("gone.drill.test", "192.0.2.1", ttl=77)
    known = site.has()
    preview = site.record("gone.drill.test", state="absent", check=True)
    assert preview["changed"] and site.has() == known
    done = site.record("gone.drill.test", state="absent")
    assert done["changed"] and done["before"] == [{"ttl": 77, "value": "192.0.2.1"}] and done["diff"] == preview["diff"]
    assert ("gone.drill.test.", "A") not in site.has() and len(site.has()) == len(known) - 1
    assert not site.record("gone.drill.test", state="absent")["changed"]


def test_the_zone_is_found_or_named(site: Site) -> None:
    """The longest one; by name; by id, with and without what the service writes before it; a private one by its id."""
    ids = [zone.rpartition("/")[2] for zone in site.endpoint.zones]
    for name, zone, want in (("a.sub.drill.test", None, 2), ("a.sub.drill.test", "drill.test", 0),
                             ("a.sub.drill.test", "drill.test.", 0), ("b.drill.test", ids[1], 1),
                             ("c.twice.test", "/hostedzone/" + ids[4], 4)):  # fmt: skip
        done = site.record(name, "192.0.2.1", zone=zone)
        assert done.get("zone") == ids[want] and (name + ".", "A") in site.has(want), done
    for zone, said in ((None, f"there are several public zones twice.test.; give the id of one as zone: {ids[3]}, "),
                       ("other.test", "has no public zone other.test (a private one is given by its id)"),
                       ("ZNOSUCHZONE1", "has no such zone (No hosted zone found with ID: ZNOSUCHZONE1)")):  # fmt: skip
        assert said in site.record("d.twice.test", "192.0.2.1", zone=zone)["msg"]
    assert "has no public zone that holds x.nowhere.test" in site.record("x.nowhere.test", "192.0.2.1")["msg"]


# --- the change on its way ---


def pending(times: int) -> Fault:
    return Fault("alter", "POST", "/rrset", alters=("INSYNC", "PENDING"), times=times)


def test_it_ends_when_the_change_is_in_sync(site: Site) -> None:
    wait = Fault("alter", "GET", "/change/", alters=("INSYNC", "PENDING"), times=3)
    site.way.faults = [pending(1), wait]
    assert site.record("sync.drill.test", "192.0.2.1")["changed"] and wait.times == 0
    assert site.way.count("GET", "/change/") == 4
    assert not site.record("sync.drill.test", "192.0.2.1")["changed"]


def test_a_change_that_is_never_in_sync_is_said(site: Site) -> None:
    site.way.faults = [pending(1), Fault("alter", "GET", "/change/", alters=("INSYNC", "PENDING"), times=999)]
    result = site.record("late.drill.test", "192.0.2.1", wait_seconds=0.2)
    assert result["failed"] and "after 0.2 s it is not INSYNC: some servers give the old answer" in result["msg"]
    assert ("late.drill.test.", "A") in site.has()


def test_throttling_passes_or_is_given_up(site: Site) -> None:
    slow = Fault("says", "POST", "/rrset", says=(400, ERROR % ("Throttling", "Rate exceeded")), times=2)
    site.way.faults = [
        slow,
        Fault("says", "GET", "/rrset", says=(503, "busy")),
        Fault("cut", "GET", "/hostedzonesbyname"),
    ]
    assert site.record("slow.drill.test", "192.0.2.1")["changed"] and slow.times == 0
    slow.times = 999
    result = site.record("slow.drill.test", "192.0.2.2")
    assert result["failed"] and ", asked 3 times for hostedzone/" in result["msg"]
    assert "it answers 400 Throttling" in result["msg"] and slow.times == 996
    assert site.has()["slow.drill.test.", "A"][1] == ["192.0.2.1"]


def test_a_lost_answer_is_no_failure(site: Site) -> None:
    site.way.faults = [Fault("mute", "POST", "/rrset")]
    assert site.record("lost.drill.test", "192.0.2.1")["changed"]
    absent = ERROR % ("InvalidChangeBatch", "Tried to delete resource record set, but it was not found")
    site.way.faults = [Fault("mute", "POST", "/rrset"), Fault("says", "POST", "/rrset", says=(400, absent))]
    gone = site.record("lost.drill.test", state="absent")
    assert gone["changed"] and not gone.get("failed"), gone
    assert (
        "its change was lost with an answer" in "".join(gone["warnings"])
        and ("lost.drill.test.", "A") not in site.has()
    )


# --- refusals ---


def test_keys_rights_and_clocks(site: Site) -> None:
    keys, name = site.endpoint.keys, ("key.drill.test", "192.0.2.1")
    wrong = site.record(*name, secret_key="x" * 40)
    assert "secret_key is not that of the access key" in wrong["msg"] and "x" * 40 not in json.dumps(wrong)
    assert "knows no access key AKIDNOBODY" in site.record(*name, access_key="AKIDNOBODY")["msg"]
    assert "may not do this: allow route53:ListHostedZonesByName" in site.record(*name, **keys["none"])["msg"]
    looks = site.record(*name, check=True, **keys["look"])
    assert looks["changed"] and not looks.get("failed"), "a preview needs no right to change"
    refused = site.record(*name, **keys["look"])
    assert "may not do this: allow route53:ChangeResourceRecordSets" in refused["msg"]
    site.way.faults = [Fault("clock", "GET")]
    assert "59 minutes behind; set this host's clock" in site.record(*name)["msg"]
    expired = ERROR % (
        "SignatureDoesNotMatch",
        "Signature expired: 20261128T000000Z is now earlier than 20261128T001000Z",
    )
    site.way.faults = [Fault("says", "GET", says=(403, expired))]
    assert "refuses the time of the request: it is 20" in site.record(*name)["msg"]
    site.way.faults = [Fault("says", "GET", says=(403, ERROR % ("ExpiredToken", "old")))]
    assert "does not accept session_token" in site.record(*name, session_token="t0k3n")["msg"]
    assert ("key.drill.test.", "A") not in site.has()
    for said in (wrong, looks, refused, site.record(*name)):
        assert keys["names"]["secret_key"] not in json.dumps(said) and keys["look"]["secret_key"] not in json.dumps(
            said
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endpoint": "route53.example.org"}, "'route53.example.org' is no endpoint; it looks like https://"),
        ({"endpoint": "http://127.0.0.1:1"}, "cannot be reached: Connection refused"),
        ({"access_key": None}, "give access_key and secret_key, or credentials"),
        ({"access_key": None, "secret_key": None, "credentials": "/nowhere/keys"}, "cannot be read: No such file"),
        ({"type": "MX"}, "'192.0.2.1' is no mail exchange; write it as `10 mail.example.com`"),
        ({"type": "MX", "value": ["99999 mx.test"]}, "is no mail exchange"),
        ({"type": "CNAME", "value": ["a.test", "b.test"]}, "a CNAME leads to one name, not to a.test and b.test"),
        (
            {"zone": "sub.drill.test"},
            "refuses route53:ChangeResourceRecordSets: RRSet with DNS name w.drill.test. is not",
        ),
    ],
)
def test_what_cannot_work_is_said(site: Site, change: dict[str, Any], said: str) -> None:
    result = site.record("w.drill.test", "192.0.2.1", **change)
    assert result["failed"] and said in result["msg"], result["msg"]


def test_a_file_of_credentials(site: Site, tmp_path: Path) -> None:
    key, path = site.endpoint.keys["names"], tmp_path / "credentials"
    path.write_text(f"[default]\naws_access_key_id={key['access_key']}\naws_secret_access_key={key['secret_key']}\n")
    without = {"access_key": None, "secret_key": None, "credentials": str(path)}
    assert site.record("file.drill.test", "192.0.2.1", **without)["changed"]


PLAIN = """<ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets>
<ResourceRecordSet><Name>%s</Name><Type>A</Type>%s</ResourceRecordSet></ResourceRecordSets>
</ListResourceRecordSetsResponse>"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            PLAIN % ("odd.drill.test.", "<AliasTarget><DNSName>lb.test.</DNSName></AliasTarget>"),
            "is an alias of lb.test.: it ",
        ),
        (
            PLAIN % ("odd.drill.test.", "<SetIdentifier>eu</SetIdentifier><TTL>60</TTL>"),
            "one of several that a routing policy",
        ),
        (PLAIN % ("odd.drill.test.", "<TTL>1e9</TTL>"), "has the time to live '1e9', which is none"),
        ("no XML at all", "does not speak Route 53: syntax error"),
        ("<!DOCTYPE x [<!ENTITY a 'aaaa'>]><x>&a;</x>", "does not speak Route 53: a document type is not expected"),
        ("<x>" + "a" * (1 << 20) + "</x>", "the endpoint's answer has over 1 MiB"),
    ],
)
def test_what_the_service_says_is_data(site: Site, body: str, said: str) -> None:
    site.way.faults = [Fault("says", "GET", "/rrset", says=(200, body))]
    result = site.record("odd.drill.test", "192.0.2.1")
    assert result["failed"] and said in result["msg"], result["msg"]
    assert site.way.count("POST") == 0, "nothing is changed"


def test_an_id_is_no_path(site: Site) -> None:
    site.way.faults = [Fault("alter", "GET", "/hostedzonesbyname", alters=("/hostedzone/", "/hostedzone/../../x?"))]
    assert "'x?" in site.record("odd.drill.test", "192.0.2.1", zone="drill.test")["msg"]
    assert site.way.count("GET", "x?") == 0


def test_why_a_change_is_invalid_is_said(site: Site) -> None:
    batch = "<InvalidChangeBatch><Messages><Message>conflicts with CNAME</Message></Messages></InvalidChangeBatch>"
    site.way.faults = [Fault("says", "POST", "/rrset", says=(400, batch))]
    result = site.record("odd.drill.test", "192.0.2.1")
    assert "refuses route53:ChangeResourceRecordSets: conflicts with CNAME (status 400)" in result["msg"]


# --- the recovery ---

NAMES_PLAY = """
- hosts: all
  gather_facts: false
  vars: %s
  tasks: %s
"""


def test_a_recovery_leads_names(site: Site, tmp_path: Path) -> None:
    """The recovery's own tasks for names, and what it says first that it lacks."""
    [play] = yaml.safe_load((ROOT / "playbooks/disaster_recover.yml").read_text())
    tasks = next(task["block"] for task in play["tasks"] if task["name"] == "Recover")
    wanted = ("All that is needed is there", "Where the names lead now", "Names lead to the new host")
    named = [task for task in tasks if task["name"] in wanted]
    assert [task["name"] for task in named] == list(wanted)
    (tmp_path / "names.yml").write_text(NAMES_PLAY % (json.dumps(play["vars"]), json.dumps(named)))
    shutil.copytree(ROOT / "playbooks/tasks", tmp_path / "tasks")
    key = site.endpoint.keys["names"]
    record = {
        "name": "dr.drill.test",
        "value": ["192.0.2.1"],
        "provider": "route53",
        "endpoint": site.way.url,
        "ttl": 60,
    }
    values = {"backup_name": "app", "dr_key": "k", "offsite_bucket": "b", "dr_store_access_key": "a", "dr_checks": [{}],
              "dr_store_secret_key": "s", "dr_dns": [record]}  # fmt: skip

    def play_it(*words: str, **more: Any) -> tuple[int, str]:
        (tmp_path / "vars.json").write_text(json.dumps({**values, **more}))
        (tmp_path / "hosts").write_text("here ansible_connection=local\n")
        argv = [sys.executable, "-m", "opsplay", "run", "-i", str(tmp_path / "hosts"), str(tmp_path / "names.yml")]
        environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        done = subprocess.run([*argv, "-e", f"@{tmp_path}/vars.json", "--diff", "-v", *words], env=environment,
                              cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, said = play_it()
    assert code == 2 and "not begun; give dr_dns_access_key and dr_dns_secret_key for dr.drill.test" in said, said
    given = {"dr_dns_access_key": key["access_key"], "dr_dns_secret_key": key["secret_key"]}
    code, said = play_it("--check", **given)
    assert code == 0 and "dr.drill.test 60 A 192.0.2.1" in said and ("dr.drill.test.", "A") not in site.has(), said
    code, said = play_it(**given)
    assert code == 0 and site.has()["dr.drill.test.", "A"] == (60, ["192.0.2.1"]), said
    assert key["secret_key"] not in said
    code, said = play_it(**given)
    assert code == 0 and "changed=0" in said, said
