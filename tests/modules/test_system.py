"""Names, time zones, locales, kernel parameters, alternatives and facts on real hosts, as tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsplay.lab import LabHost
from opsplay.modules.packages._origins import publishers_of_lists
from opsplay.modules.system import _alternatives
from opsplay.modules.system.getent import entries
from opsplay.modules.system.locale_gen import edited, normal
from opsplay.modules.system.sysctl import kernel_path
from tests.lab.remote_module import Call, run_calls
from tests.modules import harness
from tests.modules.cases import Case, previews, prove

NAMED = "echo old.example > /etc/hostname; hostname old.example;"
NAMES = "cat /etc/hostname; hostname"
HOSTNAMES = [
    Case("another name", {"name": "new-1"}, NAMED, NAMES, "new-1\nnew-1", result={"name": "new-1"}),
    Case("with a domain", {"name": "new.example"}, NAMED, NAMES, "new.example\nnew.example"),
    Case("is there", {"name": "old.example"}, NAMED, changed=False),
    Case("the file says another", {"name": "old.example"}, NAMED + "echo x > /etc/hostname", NAMES,
         "old.example\nold.example"),
    Case("no file yet", {"name": "old.example"}, NAMED + "rm /etc/hostname", NAMES + "; stat -c %a /etc/hostname",
         "old.example\nold.example\n644"),
    Case("until the next boot", {"name": "new", "use": "generic"}, NAMED, NAMES, "old.example\nnew"),
    Case("a blank", {"name": "has space"}, NAMED, NAMES, fails="cannot be a host name"),
    Case("a dash before", {"name": "a.-b"}, NAMED, NAMES, fails="cannot be a host name"),
    Case("too long", {"name": "a" * 65}, NAMED, NAMES, fails="longer than 64"),
    Case("not Linux's way", {"name": "a", "use": "solaris"}, NAMED, NAMES, fails="not supported"),
]  # fmt: skip

ZONED = "ln -sfn /usr/share/zoneinfo/Etc/UTC /etc/localtime; rm -f /etc/timezone /etc/adjtime;"
ZONES = "readlink /etc/localtime; date +%Z -d 2030-01-01; cat /etc/timezone 2>/dev/null"
TIMEZONES = [
    Case("another zone", {"name": "Europe/Paris"}, ZONED, ZONES, "../usr/share/zoneinfo/Europe/Paris\nCET"),
    Case("another zone, where its name is kept too", {"name": "Asia/Tokyo"}, ZONED + "echo Etc/UTC > /etc/timezone",
         ZONES, "../usr/share/zoneinfo/Asia/Tokyo\nJST\nAsia/Tokyo"),
    Case("is there", {"name": "Etc/UTC"}, ZONED, changed=False),
    Case("is there, but its name is another", {"name": "Etc/UTC"}, ZONED + "echo x > /etc/timezone", ZONES,
         "/usr/share/zoneinfo/Etc/UTC\nUTC\nEtc/UTC"),
    Case("a copy becomes a link", {"name": "Etc/UTC"},
         ZONED + "rm /etc/localtime; cp /usr/share/zoneinfo/Etc/UTC /etc/localtime", ZONES,
         "../usr/share/zoneinfo/Etc/UTC\nUTC"),
    Case("no such zone", {"name": "Europe/Nowhere"}, ZONED, ZONES, fails="is not available"),
    Case("no zone but a file", {"name": "zone.tab"}, ZONED, ZONES, fails="is not available"),
    Case("out of the folder", {"name": "../../../etc/passwd"}, ZONED, ZONES, fails="is not available"),
    Case("the hardware clock in UTC", {"hwclock": "UTC"}, ZONED, changed=False),
    Case("nothing asked", {}, fails="one of the following is required"),
]  # fmt: skip

KEY = "net.ipv4.conf.all.log_martians"
KERNEL = f"rm -f /etc/sysctl.d/t.conf; sysctl -qw {KEY}=0;"
FILE = {"name": KEY, "sysctl_file": "/etc/sysctl.d/t.conf"}
IN_FORCE = f"cat /etc/sysctl.d/t.conf 2>/dev/null; sysctl -n {KEY}"
SYSCTLS = [
    Case("written and applied", {**FILE, "value": 1}, KERNEL, IN_FORCE, f"{KEY}=1\n1"),
    Case("only written", {**FILE, "value": 1, "reload": False}, KERNEL, IN_FORCE, f"{KEY}=1\n0"),
    Case("set now, too", {**FILE, "value": True, "reload": False, "sysctl_set": True}, KERNEL, IN_FORCE, f"{KEY}=1\n1"),
    Case("written already, not in force", {**FILE, "value": "1"}, KERNEL + f"echo {KEY} = 1 > /etc/sysctl.d/t.conf",
         IN_FORCE, f"{KEY} = 1\n1"),
    Case("is there", {**FILE, "value": "0"}, KERNEL + f"echo '{KEY}  =  0' > /etc/sysctl.d/t.conf", changed=False),
    Case("several words", {**FILE, "name": "net.ipv4.ip_local_port_range", "value": "32768  60999"},
         KERNEL + "sysctl -qw net.ipv4.ip_local_port_range='1024 60999'",
         "cat /etc/sysctl.d/t.conf; sysctl -n net.ipv4.ip_local_port_range | tr '\\t' ' '",
         "net.ipv4.ip_local_port_range=32768 60999\n32768 60999"),
    Case("away", {**FILE, "state": "absent"},
         KERNEL + f"printf '# a\\n{KEY}=1\\nnet.ipv4.ip_forward=1\\n' > /etc/sysctl.d/t.conf", IN_FORCE,
         "# a\nnet.ipv4.ip_forward=1\n0"),
    Case("away already", {**FILE, "state": "absent"}, KERNEL, changed=False),
    Case("unknown", {**FILE, "name": "net.no.such", "value": 1}, KERNEL, IN_FORCE, fails="knows no parameter"),
    Case("unknown, and passed over", {**FILE, "name": "net.no.such", "value": 1, "ignoreerrors": True}, KERNEL,
         IN_FORCE, "net.no.such=1\n0"),
    Case("no value", FILE, KERNEL, IN_FORCE, fails="missing: value"),
    Case("a blank value", {**FILE, "value": " "}, KERNEL, IN_FORCE, fails="cannot be blank"),
]  # fmt: skip

_EDIT = {"sysctl_file": "@/s.conf", "reload": False, "name": "a.b", "value": "2"}
SYSCTL_FILES = [
    harness.Case("the last of several counts", _EDIT, {"s.conf": "# x\na.b = 2\n; y\na/b=1\n-c.d=5"},
                 {"s.conf": "# x\na.b=2\n; y\n-c.d=5\n"}),
    harness.Case("the last is right", _EDIT, {"s.conf": "a.b=1\na.b=2\n"}, changed=False),
    harness.Case("a file of its own", _EDIT, {}, {"s.conf": "a.b=2\n"}),
    harness.Case("what is no setting stays", _EDIT, {"s.conf": "a.b\n#a.b=1\n"}, {"s.conf": "a.b\n#a.b=1\na.b=2\n"}),
    harness.Case("yes is 1", {**_EDIT, "value": "yes"}, {"s.conf": "a.b=1\n"}, changed=False),
    harness.Case("no folder", {**_EDIT, "sysctl_file": "@/none/s.conf"}, fails="does not exist"),
]  # fmt: skip

ALT = (
    "update-alternatives --remove-all t-ed 2>/dev/null; rm -f /usr/local/bin/t-ed* /srv/ed*; mkdir -p /srv;"
    "for i in 1 2; do printf '#!/bin/sh\\necho %s\\n' $i > /srv/ed$i; chmod +x /srv/ed$i; done;"
)
ALT_TWO = ALT + "for i in 1 2; do update-alternatives --quiet --install /usr/local/bin/t-ed t-ed /srv/ed$i ${i}0; done;"
ED = {"name": "t-ed", "path": "/srv/ed1"}
SUB = [{"name": "t-ed.1", "link": "/usr/local/bin/t-ed-1", "path": "/srv/ed2"}]
ALT_LOOK = "update-alternatives --query t-ed 2>/dev/null | grep -v '^$'; t-ed"
HEAD = "Name: t-ed\nLink: /usr/local/bin/t-ed\n"
ALTERNATIVES = [
    Case("the first", {**ED, "link": "/usr/local/bin/t-ed"}, ALT, ALT_LOOK,
         HEAD + "Status: auto\nBest: /srv/ed1\nValue: /srv/ed1\nAlternative: /srv/ed1\nPriority: 50\n1",
         result={"msg": "Install alternative '/srv/ed1' for 't-ed'."}),
    Case("chosen", ED, ALT_TWO, "head -1 /var/lib/dpkg/alternatives/t-ed; t-ed", "manual\n1",
         result={"msg": "Set alternative '/srv/ed1' for 't-ed'."}),
    Case("chosen already", {**ED, "path": "/srv/ed2"}, ALT_TWO, "head -1 /var/lib/dpkg/alternatives/t-ed; t-ed",
         "auto\n2", changed=False),
    Case("only there", {**ED, "state": "present"}, ALT_TWO, "t-ed", "2", changed=False),
    Case("another priority", {**ED, "state": "present", "priority": 30}, ALT_TWO, "t-ed", "1"),
    Case("by priority again", {**ED, "state": "auto"}, ALT_TWO + "update-alternatives --quiet --set t-ed /srv/ed1",
         "head -1 /var/lib/dpkg/alternatives/t-ed; t-ed", "auto\n2"),
    Case("with a subcommand", {**ED, "subcommands": SUB}, ALT_TWO,
         "readlink -f /usr/local/bin/t-ed-1; grep -c . /var/lib/dpkg/alternatives/t-ed", "/srv/ed2\n9"),
    Case("the subcommand stays", {**ED, "priority": 5},
         ALT_TWO + "update-alternatives --quiet --install /usr/local/bin/t-ed t-ed /srv/ed1 10 --slave "
         "/usr/local/bin/t-ed-1 t-ed.1 /srv/ed2; update-alternatives --quiet --set t-ed /srv/ed1",
         "readlink -f /usr/local/bin/t-ed-1", "/srv/ed2"),
    Case("the subcommand goes", {**ED, "subcommands": []},
         ALT_TWO + "update-alternatives --quiet --install /usr/local/bin/t-ed t-ed /srv/ed1 10 --slave "
         "/usr/local/bin/t-ed-1 t-ed.1 /srv/ed2; update-alternatives --quiet --set t-ed /srv/ed1",
         "ls /usr/local/bin/t-ed*", "/usr/local/bin/t-ed"),
    Case("gone", {**ED, "path": "/srv/ed2", "state": "absent"}, ALT_TWO, "t-ed", "1"),
    Case("the last is gone", {**ED, "state": "absent"}, ALT_TWO + "update-alternatives --quiet --remove t-ed /srv/ed2",
         "ls /usr/local/bin/t-ed /var/lib/dpkg/alternatives/t-ed 2>/dev/null", ""),
    Case("gone already", {**ED, "state": "absent"}, ALT, changed=False),
    Case("new, and no link", ED, ALT, ALT_LOOK, fails="give link"),
    Case("no such program", {**ED, "path": "/srv/none"}, ALT_TWO, ALT_LOOK, fails="does not exist"),
    Case("a subcommand without its link", {**ED, "subcommands": [{"name": "x", "path": "/srv/ed2"}]}, ALT_TWO, ALT_LOOK,
         fails="name, link and path"),
]  # fmt: skip

LOCALES = (
    "sed -i '/^[a-z]/d' /etc/locale.gen; sed -i 's/^# *de_AT.*/x/;/^x$/d' /etc/locale.gen; locale-gen >/dev/null;"
    "printf '# de_AT ISO-8859-1\\n# de_AT.UTF-8 UTF-8\\n' >> /etc/locale.gen;"
)
LISTED = "grep -v '^#' /etc/locale.gen | grep .; locale -a | grep _"
LOCALE_GENS = [
    Case("one", {"name": "de_AT.UTF-8"}, LOCALES, LISTED, "de_AT.UTF-8 UTF-8\nde_AT.utf8",
         result={"mechanism": "glibc", "name": ["de_AT.UTF-8"]}),
    Case("is there, spelt another way", {"name": "de_AT.utf8"},
         LOCALES + "sed -i 's/^# de_AT.UTF/de_AT.UTF/' /etc/locale.gen; locale-gen", changed=False),
    Case("one that the file does not list", {"name": ["en_ZW.UTF-8"]}, LOCALES + "sed -i /en_ZW/d /etc/locale.gen",
         LISTED, "en_ZW.UTF-8 UTF-8\nen_ZW.utf8"),
    Case("gone", {"name": ["de_AT.UTF-8"], "state": "absent"},
         LOCALES + "sed -i 's/^# de_AT/de_AT/' /etc/locale.gen; locale-gen", LISTED,
         "de_AT ISO-8859-1\nde_AT\nde_AT.iso88591"),
    Case("gone already", {"name": ["de_AT.UTF-8", "C.UTF-8"], "state": "absent"}, LOCALES, changed=False),
    Case("unknown", {"name": ["de_AT.UTF-8", "xx_YY.UTF-8"]}, LOCALES, LISTED, fails="not available on this host: xx_YY"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", HOSTNAMES, ids=str)
def test_hostname(debian: LabHost, case: Case) -> None:
    try:
        prove(debian, "system.hostname", case)
    finally:
        debian.run(f"echo {debian.name} > /etc/hostname; hostname {debian.name}")


@pytest.mark.lab
def test_the_name_is_a_fact_at_once(bookworm: LabHost) -> None:
    params = {"name": bookworm.name}
    facts = run_calls(bookworm, [Call("system.hostname", params)])[0]["ansible_facts"]
    assert facts["ansible_hostname"] == facts["ansible_nodename"] == bookworm.name
    assert bookworm.run("hostnamectl --static").stdout.strip() == bookworm.name


@pytest.mark.lab
@pytest.mark.parametrize("case", TIMEZONES, ids=str)
def test_timezone(debian: LabHost, case: Case) -> None:
    prove(debian, "system.timezone", case)


@pytest.mark.lab
def test_systemd_sees_the_zone(bookworm: LabHost) -> None:
    bookworm.run(ZONED)
    run_calls(bookworm, [Call("system.timezone", {"name": "Asia/Tokyo"})])
    assert "Timezone=Asia/Tokyo" in bookworm.run("timedatectl show").stdout
    bookworm.run(ZONED)


@pytest.mark.lab
def test_the_hardware_clock(bookworm: LabHost) -> None:
    bookworm.run(ZONED)
    local, utc = ({"hwclock": word} for word in ("local", "UTC"))
    foreseen = previews(bookworm, [("system.timezone", params) for params in (local, local, utc)])
    results = run_calls(bookworm, [Call("system.timezone", params) for params in (local, local, utc, utc)])
    assert [result["changed"] for result in foreseen] == [True, False, True]
    assert [result["changed"] for result in results] == [True, False, True, False]


@pytest.mark.lab
@pytest.mark.parametrize("case", SYSCTLS, ids=str)
def test_sysctl(debian: LabHost, case: Case) -> None:
    prove(debian, "system.sysctl", case)
    debian.run(KERNEL)


@pytest.mark.parametrize("case", SYSCTL_FILES, ids=lambda case: case.name)
def test_sysctl_files(case: harness.Case, tmp_path: Path) -> None:
    harness.play("system.sysctl", case, tmp_path)


@pytest.mark.lab
def test_a_file_that_boot_does_not_read_is_warned_of(debian: LabHost) -> None:
    params = {"name": KEY, "value": 0, "reload": False}
    result = run_calls(debian, [Call("system.sysctl", params, check=True)])[0]
    is_read = debian.run("test -e /etc/sysctl.d/99-sysctl.conf", check=False).returncode == 0
    assert ("not read when this host boots" in str(result.get("warnings"))) is not is_read
    assert is_read is (debian.release != "trixie")


@pytest.mark.lab
def test_what_sysctl_cannot_apply_fails(bookworm: LabHost) -> None:
    """In this container the kernel's own parameters are read-only."""
    params = {"name": "kernel.panic", "value": 7, "sysctl_file": "/etc/sysctl.d/t.conf"}
    written, now = run_calls(
        bookworm, [Call("system.sysctl", params), Call("system.sysctl", {**params, "sysctl_set": True})]
    )
    assert written["failed"] and "t.conf is written, but sysctl cannot apply it" in written["msg"]
    assert now["failed"] and "setting kernel.panic failed" in now["msg"]
    bookworm.run(KERNEL)


@pytest.mark.lab
@pytest.mark.parametrize("case", ALTERNATIVES, ids=str)
def test_alternatives(debian: LabHost, case: Case) -> None:
    prove(debian, "system.alternatives", case)
    debian.run(ALT)


@pytest.fixture
def german(bookworm: LabHost) -> LabHost:
    """A host with the package locales, which only an archive brings."""
    if bookworm.run("test -e /usr/sbin/locale-gen", check=False).returncode != 0:
        install = "apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y locales"
        if bookworm.run(install, check=False, timeout=240).returncode != 0:
            pytest.skip("no archive is reached that has the package locales")
    return bookworm


@pytest.mark.lab
@pytest.mark.parametrize("case", LOCALE_GENS, ids=str)
def test_locale_gen(german: LabHost, case: Case) -> None:
    prove(german, "system.locale_gen", case)


@pytest.mark.lab
def test_a_host_without_locales_says_what_is_missing(fleet: dict[str, LabHost]) -> None:
    result = run_calls(fleet["bullseye"], [Call("system.locale_gen", {"name": "de_AT.UTF-8"})])[0]
    assert result["failed"] and "install the package locales first" in result["msg"]


@pytest.mark.lab
def test_previews_see_what_earlier_tasks_would_have_changed(bookworm: LabHost) -> None:
    bookworm.run(NAMED + ZONED + KERNEL + ALT)
    new = {**ED, "link": "/usr/local/bin/t-ed"}
    tasks = [
        ("system.hostname", {"name": "new"}),
        ("system.timezone", {"name": "Europe/Paris"}),
        ("system.sysctl", {**FILE, "value": 1}),
        ("system.alternatives", {**new, "priority": 10, "subcommands": SUB}),
        ("system.alternatives", {**new, "path": "/srv/ed2", "state": "present"}),
        ("system.alternatives", new),
    ]
    back = [("system.alternatives", {**new, "path": f"/srv/ed{i}", "state": "absent"}) for i in (1, 2)]
    results = previews(bookworm, [task for task in tasks for _ in range(2)] + back * 2)
    bookworm.run(f"echo {bookworm.name} > /etc/hostname; hostname {bookworm.name}")
    assert [result.get("failed", False) for result in results] == [False] * 16
    assert [result["changed"] for result in results] == [True, False] * 6 + [True, True, False, False]


@pytest.mark.lab
def test_previews_go_on_where_a_package_would_bring_what_is_missing(fleet: dict[str, LabHost]) -> None:
    tasks = [
        ("packages.apt", {"name": ["nonesuch"], "update_cache": True}),
        ("system.locale_gen", {"name": "de_AT.UTF-8"}),
        ("system.alternatives", {"name": "nonesuch", "path": "/usr/bin/nonesuch"}),
        ("system.sysctl", {"name": "net.nonesuch.max", "value": 1, "sysctl_file": "/etc/sysctl.d/t.conf"}),
        ("system.getent", {"database": "passwd", "key": "nonesuch"}),
        ("system.mount", {"path": "/srv/m", "src": "/dev/nonesuch", "fstype": "ext4", "state": "mounted"}),
    ]
    results = previews(fleet["bullseye"], tasks)
    assert [result.get("failed", False) for result in results] == [False] * 6, results
    assert [result["changed"] for result in results] == [True] * 4 + [False, True]


# --- facts ---


def fact(host: LabHost, name: str, **params: object) -> dict[str, object]:
    return run_calls(host, [Call(name, params)])[0]


@pytest.mark.lab
def test_getent(debian: LabHost) -> None:
    def ask(**params: object) -> dict[str, object]:
        return fact(debian, "system.getent", **params)

    root = {"getent_passwd": {"root": ["x", "0", "0", "root", "/root", "/bin/bash"]}}
    assert ask(database="passwd", key="root")["ansible_facts"] == root
    assert ask(database="passwd", key="root", service="files")["ansible_facts"] == root
    assert ask(database="services", key="http")["ansible_facts"] == {"getent_services": {"http": ["80/tcp", "www"]}}
    assert ask(database="group", split=":x:")["ansible_facts"]["getent_group"]["root"] == ["0:"]  # type: ignore[index]
    missing = ask(database="passwd", key="nobody-here", fail_key=False)
    assert missing["ansible_facts"] == {"getent_passwd": {"nobody-here": None}}
    for params, words in (
        ({"database": "passwd", "key": "nobody-here"}, "could not be found in the database"),
        ({"database": "nothing"}, "database unknown"),
        ({"database": "netgroup"}, "Enumeration not supported"),
    ):
        result = ask(**params)
        assert result["failed"] and words in str(result["msg"])


@pytest.mark.lab
def test_getent_in_a_preview(bookworm: LabHost) -> None:
    bookworm.run("userdel -r -f alice 2>/dev/null; groupdel red 2>/dev/null; true")
    results = previews(
        bookworm,
        [
            ("accounts.group", {"name": "red", "gid": 4242}),
            ("accounts.user", {"name": "alice", "uid": 4711, "group": "red", "shell": "/bin/sh"}),
            ("system.getent", {"database": "passwd", "key": "alice"}),
            ("system.getent", {"database": "group", "key": "red"}),
            ("accounts.user", {"name": "games", "state": "absent"}),
            ("system.getent", {"database": "passwd", "key": "games", "fail_key": False}),
        ],
    )
    alice = ["x", "4711", "4242", "", "/home/alice", "/bin/sh"]
    assert results[2]["ansible_facts"] == {"getent_passwd": {"alice": alice}}
    assert results[3]["ansible_facts"] == {"getent_group": {"red": ["x", "4242", ""]}}
    assert results[5]["ansible_facts"] == {"getent_passwd": {"games": None}}


@pytest.mark.lab
def test_service_facts(debian: LabHost) -> None:
    result = fact(debian, "services.service_facts")
    services = result["ansible_facts"]["services"]  # type: ignore[index]
    assert result["changed"] is False
    ssh = {"name": "ssh.service", "source": "systemd", "state": "running", "status": "enabled"}
    assert services["ssh.service"] == ssh
    assert services["ssh"] == {"name": "ssh", "source": "sysv", "state": "running"}
    assert services["getty@.service"]["state"] == "unknown"
    assert services["console-getty.service"]["status"] == "masked"
    assert services["rescue.service"] == {**ssh, "name": "rescue.service", "state": "stopped", "status": "static"}
    assert services["systemd-halt.service"]["state"] == "inactive"


@pytest.mark.lab
def test_service_facts_in_a_preview(bookworm: LabHost) -> None:
    tasks = [("services.service", {"name": "cron", "state": "stopped", "enabled": False}), ("services.service_facts", {})]
    cron = previews(bookworm, tasks)[1]["ansible_facts"]["services"]["cron.service"]
    assert (cron["state"], cron["status"]) == ("stopped", "disabled")


@pytest.mark.lab
def test_package_facts(debian: LabHost) -> None:
    result = fact(debian, "packages.package_facts", manager="apt")
    packages = result["ansible_facts"]["packages"]  # type: ignore[index]
    said = debian.run("dpkg-query -W -f '${db:Status-Status} ${Package} ${Version} ${Architecture} ${Section}\\n'").stdout
    installed = [line.split()[1:] for line in said.splitlines() if line.startswith("installed ")]
    assert sorted(packages) == sorted(name for name, *_ in installed)
    for name, version, architecture, section in installed:
        expected = {"name": name, "version": version, "arch": architecture, "category": section, "source": "apt"}
        assert [{**entry, "origin": ""} for entry in packages[name]] == [{**expected, "origin": ""}]


@pytest.mark.lab
def test_package_facts_in_a_preview(bookworm: LabHost) -> None:
    tasks = [("packages.apt", {"name": "sudo", "state": "absent"}), ("packages.package_facts", {})]
    assert "sudo" not in previews(bookworm, tasks)[1]["ansible_facts"]["packages"]
    refused = fact(bookworm, "packages.package_facts", manager=["nix"])
    assert refused["failed"] and "no package manager 'nix'" in str(refused["msg"])


# --- what needs no host ---


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_names_of_parameters(name: str, path: str) -> None:
    assert kernel_path(name) == "/proc/sys/" + path


def test_entries_that_are_there_twice() -> None:
    text = "127.0.0.1  localhost\n127.0.0.1 a b\n\n127.0.0.1 c\n"
    assert entries(text, None) == {"127.0.0.1": [["localhost"], ["a", "b"], ["c"]]}


def test_locales_are_spelt_in_several_ways() -> None:
    assert normal("de_CH.UTF-8") == normal("de_CH.utf8") == "de_CH.utf8"
    assert normal("ca_ES@valencia") == "ca_ES@valencia"
    assert edited("# a UTF-8\nb UTF-8", ["c UTF-8"], True) == "# a UTF-8\nb UTF-8\nc UTF-8"


def test_publishers_of_lists() -> None:
    text = "Package files:\n 100 /var/lib/dpkg/status\n     release a=now\n 500 http://x y/main amd64 Packages\n"
    text += "     release v=12,o=Debian,a=stable\n     origin x\nPinned packages:\n"
    assert publishers_of_lists(text) == {"/var/lib/dpkg/status": "", "http://x y/main amd64 Packages": "Debian"}


RED_HAT = """auto
/usr/bin/java
java.1.gz
/usr/share/man/man1/java.1.gz

/opt/java17/bin/java
@java-17@1700 javad
/opt/java17/java.1.gz
/opt/java21/bin/java
2100

"""


def test_alternatives_of_red_hat() -> None:
    """A family stands before the priority, and the name of a service may stand behind it."""
    group = _alternatives.parse("java", RED_HAT)
    assert group.is_automatic and group.best() == "/opt/java21/bin/java"
    choice = group.choices["/opt/java17/bin/java"]
    assert (choice.family, choice.priority, choice.rank) == ("java-17", 1700, "@java-17@1700")
    assert choice.subcommands == {"java.1.gz": "/opt/java17/java.1.gz"}
    assert group.choices["/opt/java21/bin/java"].rank == "2100"


@pytest.mark.lab
def test_families_are_red_hat_s(bookworm: LabHost) -> None:
    refused = run_calls(bookworm, [Call("system.alternatives", {"name": "t-ed", "family": "x"})])[0]
    assert refused["failed"] and "this host has those of Debian" in refused["msg"]
