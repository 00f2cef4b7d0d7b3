"""ufw's rules, jails and blocks on real hosts, as tables; and rules as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opsplay.agent import connection
from opsplay.lab import LabHost
from opsplay.modules.firewall._docker import of_rule
from opsplay.modules.firewall._rules import (
    MARK,
    Noted,
    Rule,
    arguments,
    decides,
    expected,
    interface_of,
    lines,
    noted,
)
from tests.lab.remote_module import Call, run_calls
from tests.modules import RELEASES
from tests.modules.cases import Case, prove

Full = Callable[[str], LabHost]

RESET = "ufw --force reset >/dev/null; rm -f /etc/ufw/*.20* /etc/default/ufw.20*; sed -i s/LOGLEVEL=.*/LOGLEVEL=low/ /etc/ufw/ufw.conf;"
STATUS = "ufw status verbose | grep -v '^New\\|^$\\|^To\\|^--' | sed 's/ *$//'"
# No control side is here to prove anything.
ALONE = {"confirm_within": 0}
SSH = {"port": 22, "proto": "tcp"}
UFW = [
    Case("a host is closed but for some", {**ALONE, "incoming": "deny", "rules": [SSH, "80,443/tcp"]}, RESET, STATUS,
         """Status: active
Logging: on (low)
Default: deny (incoming), allow (outgoing), deny (routed)
22/tcp                     ALLOW IN    Anywhere
80,443/tcp                 ALLOW IN    Anywhere
22/tcp (v6)                ALLOW IN    Anywhere (v6)
80,443/tcp (v6)            ALLOW IN    Anywhere (v6)"""),
    Case("all kinds", {**ALONE, "rules": [
            {"action": "limit", "port": 22, "proto": "tcp", "comment": "people"},
            {"action": "deny", "from": "203.0.113.7/24"},
            {"action": "reject", "direction": "out", "to": "2001:db8::1", "port": 25, "proto": "tcp"},
            {"interface": "host0", "from": "10.0.0.0/8", "port": "6000:6007", "proto": "udp", "log": True},
            {"direction": "route", "interface": "host0", "interface_out": "lo", "to": "192.0.2.1", "port": 80, "proto": "tcp"},
            {"app": "OpenSSH"}]},
         RESET, "grep -h '^### t' /etc/ufw/user.rules /etc/ufw/user6.rules",
         """### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=70656f706c65
### tuple ### deny any any 0.0.0.0/0 any 203.0.113.0/24 in
### tuple ### allow_log udp 6000:6007 0.0.0.0/0 any 10.0.0.0/8 in_host0
### tuple ### route:allow tcp 80 192.0.2.1 any 0.0.0.0/0 in_host0!out_lo
### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in
### tuple ### limit tcp 22 ::/0 any ::/0 in comment=70656f706c65
### tuple ### reject tcp 25 2001:db8::1 any ::/0 out
### tuple ### allow tcp 22 ::/0 any ::/0 OpenSSH - in"""),
    Case("what is not declared stays", {**ALONE, "rules": ["80/tcp"]}, RESET + "ufw allow 53/udp >/dev/null", STATUS + " | grep -c ALLOW", "4"),
    Case("what is not declared goes", {**ALONE, "rules": ["80/tcp"], "exclusive": True},
         RESET + "ufw allow 53/udp >/dev/null; ufw --force enable >/dev/null", STATUS + " | grep ALLOW",
         "80/tcp                     ALLOW IN    Anywhere\n80/tcp (v6)                ALLOW IN    Anywhere (v6)"),
    Case("the declared order", {**ALONE, "rules": ["2/tcp", "1/tcp"], "exclusive": True},
         RESET + "ufw allow 1/tcp >/dev/null; ufw allow 2/tcp >/dev/null; ufw --force enable >/dev/null", STATUS + " | grep -v v6 | grep -o ^./", "2/\n1/"),
    Case("is so", {**ALONE, "incoming": "deny", "rules": ["22/tcp"], "exclusive": True},
         RESET + "ufw allow 22/tcp >/dev/null; ufw --force enable >/dev/null", changed=False),
    Case("another policy", {**ALONE, "incoming": "reject", "outgoing": "deny", "routed": "allow"}, RESET + "ufw --force enable >/dev/null",
         STATUS + " | grep Default", "Default: reject (incoming), deny (outgoing), allow (routed)"),
    Case("another comment", {**ALONE, "rules": [{**SSH, "comment": "new"}]}, RESET + "ufw allow 22/tcp comment old >/dev/null; ufw --force enable >/dev/null",
         "grep -c 'comment=6e6577' /etc/ufw/user.rules", "1"),
    Case("more is logged", {**ALONE, "logging": "high"}, RESET + "ufw --force enable >/dev/null", STATUS + " | grep Logging", "Logging: on (high)"),
    Case("IPv4 alone", {**ALONE, "ipv6": False, "rules": ["22/tcp"], "exclusive": True}, RESET + "sed -i s/IPV6=no/IPV6=yes/ /etc/default/ufw",
         "grep IPV6 /etc/default/ufw; ufw status | grep -c v6; sed -i s/IPV6=no/IPV6=yes/ /etc/default/ufw", "IPV6=no\n0"),
    Case("off", {**ALONE, "state": "disabled"}, RESET + "ufw --force enable >/dev/null", STATUS, "Status: inactive"),
    Case("off already", {**ALONE, "state": "disabled"}, RESET, changed=False),
    Case("flushed behind ufw's back", {**ALONE, "rules": ["22/tcp"]}, RESET + "ufw allow 22/tcp >/dev/null; ufw --force enable >/dev/null; iptables -F ufw-user-input",
         "iptables -S ufw-user-input | grep -c ACCEPT", "1"),
    Case("an unknown application", {**ALONE, "rules": ["Nosuch"]}, RESET, STATUS, fails="ufw refuses the rule 'ufw allow in from any to any app Nosuch'"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", UFW, ids=str)
@pytest.mark.parametrize("release", RELEASES)
def test_ufw_rules(full: Full, case: Case, release: str) -> None:
    host = full(release)
    try:
        prove(host, "firewall.ufw_rules", case)
    finally:
        host.run("ufw disable")


MANY: list[dict[str, Any]] = [
    {"port": port, "proto": proto, "from": source, "direction": way, "action": action, "comment": comment, "log": log}
    for port, proto, source, way, action, comment, log in [
        (22, "tcp", "", "in", "allow", "", ""),
        (23, "", "10.1.2.3", "in", "deny", "ünïcode", ""),
        ("", "", "10.1.2.3/8", "out", "reject", "", "log"),
        ("1000:2000", "udp", "2001:db8::7/32", "in", "limit", "a b", "log-all"),
        (53, "udp", "192.0.2.0/24", "in", "allow", "", ""),
        (443, "tcp", "2001:db8::9", "in", "allow", "", ""),
    ]
]


@pytest.mark.lab
@pytest.mark.parametrize("release", RELEASES)
def test_what_ufw_notes_down_is_known_without_it(full: Full, release: str) -> None:
    """So that an unchanged firewall costs no run of ufw."""
    host = full(release)
    host.run(RESET)
    done = run_calls(host, [Call("firewall.ufw_rules", {**ALONE, "rules": MANY, "exclusive": True})])[0]
    assert not done.get("failed"), done
    rules = [Rule().convert(rule) for rule in MANY]
    for v6, path in ((False, "/etc/ufw/user.rules"), (True, "/etc/ufw/user6.rules")):
        found = [rule.text for rule in noted(host.run(["cat", path]).stdout)]
        assert found == [text for text in (expected(rule, v6) for rule in rules) if text]
    host.run("ufw disable")


@pytest.mark.lab
def test_a_preview_of_a_host_without_ufw(full: Full) -> None:
    host = full("bookworm")
    host.run("mv /usr/sbin/ufw /usr/sbin/ufw.away")
    try:
        calls = [Call("commands.command", {"cmd": "echo"}, check=True), Call("firewall.ufw_rules", {"rules": ["22/tcp"]}, check=True)]
        first, second = run_calls(host, calls)
        assert second["changed"], (first, second)
        assert "allow in proto tcp" in second["diff"][0]["after"]
        alone = run_calls(host, [Call("firewall.ufw_rules", {"rules": ["22/tcp"]})])[0]
        assert alone["failed"] and "install it first" in alone["msg"]
    finally:
        host.run("mv /usr/sbin/ufw.away /usr/sbin/ufw")


JAIL_RESET = "rm -f /etc/fail2ban/jail.d/*.local; systemctl start rsyslog; touch /var/log/auth.log; systemctl restart fail2ban; sleep 1; fail2ban-client ping >/dev/null;"
JAILS = [
    Case("a jail", {"name": "sshd", "maxretry": 3, "bantime": "1h", "ignoreip": ["192.0.2.0/24"]}, JAIL_RESET,
         "fail2ban-client get sshd maxretry; fail2ban-client get sshd bantime", "3\n3600"),
    Case("a jail of one's own", {"name": "web", "filter": "sshd", "logpath": ["/var/log/auth.log"], "port": "80,443", "options": {"banaction": "nftables"}},
         JAIL_RESET, "fail2ban-client status | grep -c web", "1"),
    Case("a jail is closed", {"name": "sshd", "state": "absent"}, JAIL_RESET + "echo '[sshd]\nmaxretry = 7' > /etc/fail2ban/jail.d/sshd.local; fail2ban-client reload >/dev/null",
         "ls /etc/fail2ban/jail.d/; fail2ban-client get sshd maxretry", "defaults-debian.conf\n5"),
    Case("no such filter", {"name": "x", "filter": "nosuch"}, JAIL_RESET, "ls /etc/fail2ban/jail.d", fails="fail2ban refuses this jail"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", JAILS, ids=str)
@pytest.mark.parametrize("release", RELEASES)
def test_fail2ban_jail(full: Full, case: Case, release: str) -> None:
    prove(full(release), "firewall.fail2ban_jail", case)


NO_BLOCKS = "rm -rf /etc/opsplay /etc/systemd/system/opsplay-* /etc/systemd/system/*.wants/opsplay-*; nft delete table inet opsplay_block 2>/dev/null; true;"
ELEMENTS = "nft list table inet opsplay_block 2>/dev/null | grep -o 'elements = .*' | sed 's/expires [^ ]*//; s/1h59m59s/2h/'"
BLOCKS = [
    Case("for good", {"ip": ["198.51.100.7", "2001:db8::/33"], "reason": "scans"}, NO_BLOCKS, ELEMENTS,
         "elements = { 198.51.100.7 }\nelements = { 2001:db8::/33 }"),
    Case("for a time", {"ip": "198.51.100.7", "expires": "2h"}, NO_BLOCKS, ELEMENTS, "elements = { 198.51.100.7 timeout 2h  }"),
    Case("no block is left", {"ip": "198.51.100.7", "state": "absent"}, NO_BLOCKS, changed=False),
    Case("itself", {"ip": "127.0.0.0/8"}, NO_BLOCKS, fails="this host itself"),
    Case("never", {"ip": "198.51.100.7", "never": ["198.51.100.0/24"]}, NO_BLOCKS, fails="named by `never`"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", BLOCKS, ids=str)
@pytest.mark.parametrize("release", RELEASES)
def test_ip_block(full: Full, case: Case, release: str) -> None:
    host = full(release)
    try:
        prove(host, "firewall.ip_block", case)
    finally:
        host.run(NO_BLOCKS)


# --- rules as data ---


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("22/tcp", "rule allow in proto tcp from any to any port 22"),
        (22, "rule allow in from any to any port 22"),
        ("80,443/tcp", "rule allow in proto tcp from any to any port 80,443"),
        ("Nginx Full", "rule allow in from any to any app Nginx Full"),
        ({"rule": "deny", "src": "10.0.0.1", "to_port": 5}, "rule deny in from 10.0.0.1 to any port 5"),
        ({"port": [80, 81], "proto": "tcp", "from": "any"}, "rule allow in proto tcp from any to any port 80,81"),
        ({"direction": "route", "interface_in": "a", "interface_out": "b"}, "route allow in on a out on b from any to any"),
        ({"port": 1, "log": True, "comment": "x y"}, "rule allow in log from any to any port 1 comment x y"),
    ],
)  # fmt: skip
def test_rules_become_ufws_words(given: Any, told: str) -> None:
    rule = Rule().convert(given)
    assert " ".join(arguments(rule)) == told
    assert Rule().convert(rule) == rule


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("x/tcp", "is no rule"), ({"prot": "tcp"}, "a rule has no 'prot'"),
        ({"port": 70000}, "1 to 65535"), ({"port": "80,443"}, "need their proto"), ({"port": "9:3", "proto": "tcp"}, "does not grow"),
        ({"from": "example.org"}, "an address or a network"), ({"app": "x", "port": 1}, "not both"), ({"action": "accept"}, "is one of allow"),
        ({"interface_out": "x"}, "direction: route"), ({"comment": "it's"}, "apostrophe"), (["22"], "expected a rule"), (True, "expected a rule"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(given: Any, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        Rule().convert(given)
    assert says in str(caught.value)


def rules_of(*texts: str) -> list[Noted]:
    return [Noted(text) for text in texts]


@pytest.mark.parametrize(
    ("rules", "policy", "verdict"),
    [
        ([], "deny", "deny"), ([], "allow", "allow"),
        (["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"], "deny", "allow"),
        (["limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"], "deny", "limit"),
        (["allow udp 22 0.0.0.0/0 any 0.0.0.0/0 in"], "deny", "deny"),
        (["allow tcp 20:30 0.0.0.0/0 any 10.0.0.0/8 in"], "deny", "allow"),
        (["allow tcp 21,22 10.0.0.2 any 0.0.0.0/0 in"], "deny", "allow"),
        (["allow tcp 22 10.0.0.9 any 0.0.0.0/0 in"], "deny", "deny"),
        (["deny any any 0.0.0.0/0 any 10.0.0.1 in", "allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"], "deny", "deny"),
        (["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in_eth1"], "deny", "deny"),
        (["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in_eth0"], "deny", "allow"),
        (["allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 out"], "deny", "deny"),
        (["route:allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in"], "deny", "deny"),
        (["reject tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in"], "allow", "reject"),
        (["allow tcp 22 0.0.0.0/0 1024 0.0.0.0/0 in"], "deny", "deny"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_connection(rules: list[str], policy: str, verdict: str) -> None:
    assert decides(rules_of(*rules), policy, "10.0.0.1", "10.0.0.2", 22, "eth0")[0] == verdict


def test_rules_for_people() -> None:
    v4 = rules_of("allow tcp 1 0.0.0.0/0 any 0.0.0.0/0 in", "deny any any 0.0.0.0/0 any 10.0.0.1 in comment=78")
    v6 = rules_of("allow tcp 1 ::/0 any ::/0 in", "allow any any ::/0 any fd00::1 in_eth0")
    assert lines(v4, v6) == [
        "allow in tcp from any to any port 1", "deny in from 10.0.0.1 to any  # x  (v4)", "allow in on eth0 from fd00::1 to any  (v6)",
    ]  # fmt: skip
    assert [rule.is_v6 for rule in noted(f"{MARK}{v6[1].text}\n-A x\n")] == [True]


def test_the_interface_that_has_an_address() -> None:
    text = "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 10.0.0.2/24 brd x scope global eth0\n2: eth0    inet6 fe80::1/64 scope link\n"
    assert (interface_of(text, "10.0.0.2"), interface_of(text, "fe80::1"), interface_of(text, "10.0.0.3")) == ("eth0", "eth0", "")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1 50000 10.0.0.2 22", ("10.0.0.1", 50000, "10.0.0.2", 22)),
        ("::ffff:10.0.0.1 5 ::ffff:10.0.0.2 22", ("10.0.0.1", 5, "10.0.0.2", 22)),
        ("fe80::1%eth0 5 fe80::2%eth0 2222", ("fe80::1", 5, "fe80::2", 2222)),
        ("", None), ("10.0.0.1 x 10.0.0.2 22", None), ("UNKNOWN 65535 UNKNOWN", None),
    ],
)  # fmt: skip
def test_what_sshd_says_of_a_connection(text: str, found: Any) -> None:
    parsed = connection.parse(text, "admin")
    assert (parsed and (parsed.client, parsed.client_port, parsed.server, parsed.server_port)) == found


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("allow tcp 80,443 0.0.0.0/0 any 0.0.0.0/0 in", "meta nfproto ipv4 meta l4proto tcp ct original proto-dst { 80, 443 } accept"),
        ("deny any any 0.0.0.0/0 any 10.0.0.0/8 in", "meta nfproto ipv4 ip saddr 10.0.0.0/8 meta l4proto { tcp, udp } drop"),
        ("limit udp 6000:6007 10.0.0.2 any 0.0.0.0/0 in_eth0",
         'meta nfproto ipv4 iifname "eth0" ct original ip daddr 10.0.0.2 meta l4proto udp ct original proto-dst { 6000-6007 } accept'),
        ("allow tcp 80 0.0.0.0/0 1024:65535 0.0.0.0/0 in", "meta nfproto ipv4 meta l4proto tcp th sport { 1024-65535 } ct original proto-dst { 80 } accept"),
        ("allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 out", None), ("route:allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in", None),
        ("allow esp any 0.0.0.0/0 any 0.0.0.0/0 in", None),
    ],
)  # fmt: skip
def test_rules_about_what_docker_publishes(rule: str, line: str | None) -> None:
    assert of_rule(Noted(rule), v6=False) == ([line] if line else [])
