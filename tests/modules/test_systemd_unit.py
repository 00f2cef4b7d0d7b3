"""Unit files and drop-ins on real systemds, as tables: state before, parameters, outcome."""

from __future__ import annotations

from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.services import _unitfiles
from opsplay.modules.services._verify import sorted_out
from tests.lab.remote_module import Call, run_calls, run_module
from tests.modules.cases import Case, previews, prove

MODULE = "services.systemd_unit"
UNITS = "/etc/systemd/system"
# Back to: none of the units below.
FRESH = (
    "systemctl stop 'u-*' 2>/dev/null;"
    f"rm -rf {UNITS}/u-* {UNITS}/*.wants/u-* {UNITS}/cron.service.d;"
    "systemctl daemon-reload; systemctl reset-failed 2>/dev/null;"
)
INSTALL = {"WantedBy": "multi-user.target"}
# For a time that no other test's program sleeps: they are told by it.
SLEEP: dict[str, dict[str, Any]] = {"Service": {"ExecStart": "/bin/sleep 8600"}, "Install": INSTALL}
SLEEP_TEXT = "[Service]\nExecStart=/bin/sleep 8600\n\n[Install]\nWantedBy=multi-user.target\n"
BAD = {"Service": {"ExecStart": "/bin/sh -c 'echo the disk is upside down; exit 3'"}, "Install": INSTALL}
FAILS = "systemctl start u-a; for i in $(seq 100); do systemctl -q is-failed u-a && break; sleep 0.1; done"
MANY: dict[str, dict[str, Any]] = {"Service": {"ExecStart": "/bin/sh -c 'sleep 600; : %i'"}, "Install": INSTALL}


def there(name: str, text: str = SLEEP_TEXT) -> str:
    """The unit is there already."""
    return FRESH + f"cat > {UNITS}/{name} <<'E'\n{text}E\nsystemctl daemon-reload;"


def unit(name: str) -> str:
    return f"cat {UNITS}/{name} 2>/dev/null; systemctl is-active {name}; systemctl is-enabled {name} 2>/dev/null"


def shows(name: str, *keys: str) -> str:
    return f"systemctl show {name} " + " ".join(f"-p {key}" for key in keys)


CASES = [
    Case("is written", {"name": "u-a", "sections": SLEEP}, FRESH, unit("u-a.service"),
         SLEEP_TEXT + "inactive\ndisabled", result={"name": "u-a.service", "path": f"{UNITS}/u-a.service", "done": {}}),
    Case("is written, enabled and started", {"name": "u-a", "sections": SLEEP, "enabled": True, "state": "started"},
         FRESH, unit("u-a.service"), SLEEP_TEXT + "active\nenabled", result={"done": {"u-a.service": "started"}}),
    Case("is there already", {"name": "u-a.service", "sections": SLEEP}, there("u-a.service"), changed=False),
    Case("as text", {"name": "u-a", "content": SLEEP_TEXT[:-1]}, FRESH, f"cat {UNITS}/u-a.service", SLEEP_TEXT),
    Case("as text and data", {"name": "u-a", "content": "# Ours.\n[Service]\nExecStart=/bin/true\n",
                              "sections": {"Install": INSTALL}},
         FRESH, f"cat {UNITS}/u-a.service",
         "# Ours.\n[Service]\nExecStart=/bin/true\n\n[Install]\nWantedBy=multi-user.target\n"),
    Case("values of all kinds", {"name": "u-a", "sections": {
            "Unit": {"Description": "A & B", "After": ["network.target", "dbus.service"]},
            "Service": {"Type": "oneshot", "ExecStart": ["", "/bin/true 50%%", "/bin/echo b"], "RemainAfterExit": True,
                        "TimeoutStartSec": 30, "PrivateTmp": False, "MemoryMax": "64M", "CPUQuota": "50%",
                        "User": "admin"}}},
         FRESH, f"cat {UNITS}/u-a.service; " + shows("u-a", "MemoryMax", "TimeoutStartUSec", "After", "User") +
         "| sed 's/ basic.target//; s/After=.*network.target.*/After=yes/'",
         "[Unit]\nDescription=A & B\nAfter=network.target\nAfter=dbus.service\n\n[Service]\nType=oneshot\nExecStart=\n"
         "ExecStart=/bin/true 50%%\nExecStart=/bin/echo b\nRemainAfterExit=yes\nTimeoutStartSec=30\nPrivateTmp=no\n"
         "MemoryMax=64M\nCPUQuota=50%\nUser=admin\nTimeoutStartUSec=30s\nMemoryMax=67108864\nUser=admin\nAfter=yes"),
    Case("its change restarts it", {"name": "u-a", "state": "restarted", "enabled": True,
                                    "sections": {"Service": {"ExecStart": "/bin/sleep 8601"}, "Install": INSTALL}},
         there("u-a.service") + "systemctl start u-a", "sleep 0.2; pgrep -fx '/bin/sleep 860[01]' -a | cut -d' ' -f2-",
         "/bin/sleep 8601", result={"done": {"u-a.service": "restarted"}}),
    Case("unchanged, it is not restarted", {"name": "u-a", "state": "restarted", "sections": SLEEP},
         there("u-a.service") + "systemctl start u-a", shows("u-a", "MainPID"), changed=False, result={"done": {}}),
    Case("started, it goes on with the old", {"name": "u-a", "state": "started",
                                              "sections": {"Service": {"ExecStart": "/bin/sleep 8601"}}},
         there("u-a.service") + "systemctl start u-a", "sleep 0.2; pgrep -fx '/bin/sleep 860[01]' -a | cut -d' ' -f2-",
         "/bin/sleep 8600", warns="state: restarted lets it take up"),
    Case("is stopped and disabled", {"name": "u-a", "state": "stopped", "enabled": False, "sections": SLEEP},
         there("u-a.service") + "systemctl -q enable --now u-a", unit("u-a.service"),
         SLEEP_TEXT + "inactive\ndisabled"),
    Case("another target wants it", {"name": "u-a", "enabled": True,
                                     "sections": {**SLEEP, "Install": {"WantedBy": "graphical.target"}}},
         there("u-a.service") + "systemctl -q enable u-a", f"cd {UNITS}; ls -d *.wants/u-a.service",
         "graphical.target.wants/u-a.service"),
    Case("edited by hand and not read again", {"name": "u-a", "sections": SLEEP},
         there("u-a.service", SLEEP_TEXT.replace("8600", "9")) + "systemctl start u-a; sleep 0.1; "
         f"printf '%s' '{SLEEP_TEXT}' > {UNITS}/u-a.service", changed=False),
    Case("a socket with its service", {"name": "u-d.socket", "state": "started",
                                       "sections": {"Socket": {"ListenStream": "/run/u-door"}}},
         there("u-d.service"), "systemctl is-active u-d.socket", "active"),
    Case("a drop-in", {"name": "cron", "dropin": "limits.conf",
                       "sections": {"Service": {"MemoryMax": "2G", "CPUQuota": "200%"}}},
         FRESH, f"cat {UNITS}/cron.service.d/limits.conf;" + shows("cron", "MemoryMax", "CPUQuotaPerSecUSec"),
         "[Service]\nMemoryMax=2G\nCPUQuota=200%\nCPUQuotaPerSecUSec=2s\nMemoryMax=2147483648"),
    Case("a drop-in restarts", {"name": "cron", "dropin": "env", "state": "restarted",
                                "sections": {"Service": {"Environment": "GREETING=hello"}}},
         FRESH + "systemctl restart cron", "tr '\\0' '\\n' < /proc/$(systemctl show -p MainPID --value cron)/environ | "
         "grep GREETING", "GREETING=hello"),
    Case("a drop-in for an instance", {"name": "u-m@1", "dropin": "x", "sections": {"Service": {"MemoryMax": "1G"}}},
         there("u-m@.service"), shows("u-m@1", "MemoryMax") + ";" + shows("u-m@2", "MemoryMax"),
         "MemoryMax=1073741824\nMemoryMax=infinity"),
    Case("a drop-in goes", {"name": "cron", "dropin": "x", "state": "absent"},
         FRESH + f"mkdir {UNITS}/cron.service.d; printf '[Service]\\nMemoryMax=1G\\n' > {UNITS}/cron.service.d/x.conf;"
         "systemctl daemon-reload", f"ls -d {UNITS}/cron.service.d 2>/dev/null;" + shows("cron", "MemoryMax"),
         "MemoryMax=infinity", warns="until it is restarted"),
    Case("only that drop-in goes", {"name": "cron", "dropin": "x", "state": "absent"},
         FRESH + f"mkdir {UNITS}/cron.service.d; printf '[Service]\\n' | tee {UNITS}/cron.service.d/x.conf > "
         f"{UNITS}/cron.service.d/y.conf", f"ls {UNITS}/cron.service.d", "y.conf", warns="until it is restarted"),
    Case("no drop-in goes", {"name": "cron", "dropin": "x", "state": "absent"}, FRESH, changed=False),
    Case("goes", {"name": "u-a", "state": "absent"},
         there("u-a.service") + f"mkdir {UNITS}/u-a.service.d; echo > {UNITS}/u-a.service.d/x.conf; "
         "systemctl daemon-reload; systemctl -q enable --now u-a; sleep 0.2",
         f"ls -d {UNITS}/u-a* {UNITS}/*.wants/u-a* 2>/dev/null; pgrep -fx '/bin/sleep 8600';"
         "systemctl is-active u-a; systemctl show -p LoadState u-a", "inactive\nLoadState=not-found"),
    Case("goes, having failed", {"name": "u-a", "state": "absent"},
         there("u-a.service", "[Service]\nExecStart=/bin/false\n") + FAILS,
         "systemctl list-units --all --plain --no-legend 'u-*'", ""),
    Case("is gone, but not forgotten", {"name": "u-a", "state": "absent"},
         there("u-a.service", "[Service]\nExecStart=/bin/false\n") + FAILS + "; "
         f"rm {UNITS}/u-a.service; systemctl daemon-reload", "systemctl list-units --all --plain --no-legend 'u-*'", ""),
    Case("is gone already", {"name": "u-a", "state": "absent"}, FRESH, changed=False),
    Case("what hides a package's goes", {"name": "cron", "state": "absent"},
         FRESH + f"cp /lib/systemd/system/cron.service {UNITS}; systemctl daemon-reload; systemctl start cron",
         "systemctl is-active cron; systemctl show -p FragmentPath cron | sed s,/usr,,",
         "active\nFragmentPath=/lib/systemd/system/cron.service", warns="goes on with what its package says"),
    Case("a package's does not go", {"name": "cron", "state": "absent"}, FRESH, fails="belongs to a package"),
    Case("instances", {"name": "u-m@", "sections": MANY, "instances": 3, "state": "started", "enabled": True}, FRESH,
         "systemctl is-active u-m@1 u-m@2 u-m@3 u-m@4; systemctl is-enabled u-m@3", "active\nactive\nactive\ninactive\n"
         "enabled"),
    Case("fewer instances", {"name": "u-m@", "sections": MANY, "instances": 1, "state": "started", "enabled": True},
         there("u-m@.service", _unitfiles.rendered(MANY)) + "systemctl -q enable --now u-m@1 u-m@2 u-m@3 u-m@x",
         "systemctl is-active u-m@1 u-m@2 u-m@3 u-m@x; systemctl is-enabled u-m@2 u-m@x",
         "active\ninactive\ninactive\nactive\ndisabled\nenabled",
         result={"done": {"u-m@2.service": "stopped", "u-m@3.service": "stopped"}}),
    Case("a template with its instances goes", {"name": "u-m@", "state": "absent"},
         there("u-m@.service", _unitfiles.rendered(MANY)) + "systemctl -q enable --now u-m@1 u-m@x",
         f"ls -d {UNITS}/u-m* {UNITS}/*.wants/u-m* 2>/dev/null; systemctl is-active u-m@1 u-m@x", "inactive\ninactive"),
    Case("an unknown key", {"name": "u-a", "sections": {"Service": {"ExecStart": "/bin/true", "Exec-Stopp": "x"}}},
         FRESH, f"ls {UNITS}", fails=f"{UNITS}/u-a.service:3: Unknown key"),
    Case("an unknown section", {"name": "u-a", "sections": {**SLEEP, "Servce": {"User": "admin"}}}, FRESH,
         f"ls {UNITS}", fails="Unknown section 'Servce'"),
    Case("a wrong value", {"name": "u-a", "sections": {"Service": {"ExecStart": "/bin/true", "MemoryMax": "lots"}}},
         FRESH, f"ls {UNITS}", fails="(`MemoryMax=lots`)"),
    Case("a wrong value in a drop-in", {"name": "cron", "dropin": "x", "sections": {"Service": {"Nice": "very"}}},
         FRESH, f"ls {UNITS}", fails="(`Nice=very`)"),
    Case("a contradiction", {"name": "u-a", "sections": {"Service": {"ExecStart": "/bin/true", "Type": "oneshot",
                                                                     "Restart": "always"}}},
         there("u-a.service"), f"cat {UNITS}/u-a.service", fails="isn't allowed for Type=oneshot"),
    Case("no program, and none is needed yet", {"name": "u-a", "sections": {"Service": {"ExecStart": "/opt/none"}}},
         FRESH, warns="/opt/none is not executable"),
    Case("no program to start", {"name": "u-a", "state": "started", "sections": {"Service": {"ExecStart": "/opt/none"}}},
         FRESH, f"ls {UNITS}", fails="/opt/none is not executable"),
    Case("no such user", {"name": "u-a", "sections": {"Service": {"ExecStart": "/bin/true", "User": "nosuch"}}}, FRESH,
         f"ls {UNITS}", fails="no user 'nosuch'"),
    Case("enabled by nothing", {"name": "u-a", "enabled": True, "sections": {"Service": {"ExecStart": "/bin/true"}}},
         FRESH, fails="needs a section Install"),
    Case("nothing in it", {"name": "u-a"}, fails="give sections, content, or both"),
    Case("two lines in a value", {"name": "u-a", "sections": {"Service": {"ExecStart": "/bin/true\nUser=root"}}},
         fails="Service.ExecStart holds a line break"),
    Case("a drop-in for nothing", {"name": "u-none", "dropin": "x", "sections": SLEEP}, FRESH, fails="there is no unit"),
    Case("is masked", {"name": "u-a", "sections": SLEEP}, FRESH + "systemctl -q mask u-a", fails="unmask it first"),
    Case("a template does not run", {"name": "u-m@", "sections": MANY, "state": "started"}, fails="give instances"),
    Case("a name with a blank", {"name": "u a", "sections": SLEEP}, fails="cannot hold ' '"),
    Case("a sandbox for a socket", {"name": "u-d.socket", "hardening": "basic", "sections": SLEEP}, fails="for services"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES, ids=str)
def test_unit_files(debian: LabHost, case: Case) -> None:
    prove(debian, MODULE, case)


@pytest.mark.lab
@pytest.mark.parametrize(
    ("level", "writes", "home", "score"),
    [("none", "written\n", "admin", 9), ("basic", "", "admin", 7.5), ("strict", "", "", 3.5)],
)
def test_a_sandbox_holds(debian: LabHost, level: str, writes: str, home: str, score: float) -> None:
    """What is promised is seen from within the service; and `systemd-analyze security` judges it."""
    script = (
        "/bin/sh -c '(echo written > /usr/u-x; cat /usr/u-x); ls /home > /var/lib/u-s/home; "
        "cat /usr/u-x > /var/lib/u-s/usr; grep NoNewPrivs /proc/self/status > /var/lib/u-s/privileges; true'"
    )
    service = {"Type": "oneshot", "ExecStart": script, "StateDirectory": "u-s", "RemainAfterExit": True}
    debian.run(FRESH + "rm -rf /usr/u-x /var/lib/u-s")
    params = {"name": "u-s", "sections": {"Service": service}, "hardening": level, "state": "started"}
    result, again = run_calls(debian, [Call(MODULE, params)] * 2)
    assert result["changed"] and not result.get("warnings") and not again["changed"], result
    seen = debian.run("cd /var/lib/u-s; cat home; echo -; cat usr; cat privileges").stdout
    expected = f"NoNewPrivs:\t{int(level != 'none')}\n"
    assert seen.split("-\n") == [seen.split("-\n")[0], writes + expected] and seen.startswith(home)
    said = debian.run("systemd-analyze security --no-pager u-s.service | tail -1").stdout
    assert float(said.partition(": ")[2].split()[0]) <= (score if level != "none" else 10), said
    debian.run("rm -f /usr/u-x")


@pytest.mark.lab
def test_what_the_unit_says_wins_over_its_hardening(debian: LabHost) -> None:
    debian.run(FRESH)
    sections = {"Service": {"ExecStart": "/bin/sleep 8600", "ProtectHome": False, "ProtectSystem": "full"}}
    run_module(debian, MODULE, {"name": "u-a", "sections": sections, "hardening": "strict"})
    dropin = {"name": "u-a", "dropin": "hard", "content": "[Unit]\nDescription=x\n", "hardening": "strict"}
    assert not run_module(debian, MODULE, dropin).get("failed")
    shown = debian.run(shows("u-a", "ProtectHome", "ProtectSystem", "PrivateDevices", "LockPersonality")).stdout
    assert sorted(shown.split()) == ["LockPersonality=yes", "PrivateDevices=yes", "ProtectHome=no", "ProtectSystem=full"]
    assert "ProtectHome" not in debian.run(f"cat {UNITS}/u-a.service.d/hard.conf").stdout


@pytest.mark.lab
def test_a_new_unit_that_does_not_start_says_why(debian: LabHost) -> None:
    debian.run(FRESH)
    sections = {**BAD, "Service": {**BAD["Service"], "Type": "oneshot"}}
    result = run_module(debian, MODULE, {"name": "u-b", "sections": sections, "state": "started"})
    assert result["failed"] and "cannot start u-b.service" in result["msg"]
    assert "the disk is upside down" in result["msg"]


@pytest.mark.lab
def test_a_service_that_ran_gets_its_old_file_back(debian: LabHost) -> None:
    debian.run(there("u-a.service") + "systemctl -q enable --now u-a")
    bad = {"Service": {"Type": "notify", "ExecStart": BAD["Service"]["ExecStart"]}, "Install": INSTALL}
    result = run_module(debian, MODULE, {"name": "u-a", "sections": bad, "state": "restarted"})
    assert result["failed"] and "the disk is upside down" in result["msg"]
    assert f"The former {UNITS}/u-a.service is back, and it runs again." in result["msg"]
    assert debian.run(unit("u-a.service")).stdout == SLEEP_TEXT + "active\nenabled\n"
    assert debian.run(shows("u-a", "NeedDaemonReload")).stdout == "NeedDaemonReload=no\n"


@pytest.mark.lab
def test_a_preview_knows_what_earlier_tasks_would_bring(bookworm: LabHost) -> None:
    bookworm.run(FRESH)
    needs = {"Unit": {"Requires": "u-a.service"}, "Service": {"ExecStart": "/usr/sbin/nginx", "User": "newcomer"}}
    results = previews(
        bookworm,
        [
            ("accounts.user", {"name": "newcomer"}),
            (MODULE, {"name": "u-a", "sections": SLEEP, "state": "started", "enabled": True}),
            (MODULE, {"name": "u-a", "sections": SLEEP, "state": "started", "enabled": True}),
            (MODULE, {"name": "u-n", "sections": needs, "state": "started"}),
            ("packages.apt", {"name": "nginx", "update_cache": True}),
            (MODULE, {"name": "u-n", "sections": needs, "state": "started"}),
            (MODULE, {"name": "nginx", "dropin": "x", "sections": {"Service": {"LimitNOFILE": 65536}}}),
            (MODULE, {"name": "nginx", "dropin": "x", "sections": {"Service": {"LimitNOFIL": 65536}}}),
            (MODULE, {"name": "u-a", "state": "absent"}),
            (MODULE, {"name": "u-a", "state": "absent"}),
            (MODULE, {"name": "u-a", "sections": SLEEP, "state": "started"}),
        ],
    )
    failed = [number for number, result in enumerate(results) if result.get("failed")]
    assert failed == [3, 7], results
    assert "nginx is not executable" in results[3]["msg"] and "u-a.service" not in results[3]["msg"]
    assert "LimitNOFIL" in results[7]["msg"]
    changed = [result["changed"] for result in results]
    assert changed == [True, True, False, False, True, True, True, False, True, False, True]


@pytest.mark.lab
@pytest.mark.parametrize("seconds", [0.04, 0.08, 0.12, 0.2, 0.3])
def test_a_run_that_was_cut_off_is_made_good_by_the_next(bookworm: LabHost, seconds: float) -> None:
    """Wherever it ends: nothing lies about, and the next run leaves the unit running with its new file."""
    bookworm.run(there("u-a.service") + "systemctl start u-a")
    new = {"Service": {"ExecStart": "/bin/sleep 8601"}}
    params = {"name": "u-a", "sections": new, "state": "restarted"}
    cut = run_calls(bookworm, [Call(MODULE, params, interrupt_after=seconds)])[0]
    assert cut.get("cancelled") or cut["changed"], cut
    assert bookworm.run(f"ls -d /run/.opsplay* {UNITS}/.opsplay* 2>/dev/null || true").stdout == ""
    whole, again = run_calls(bookworm, [Call(MODULE, params)] * 2)
    assert not whole.get("failed") and not again["changed"]
    seen = bookworm.run("sleep 0.2; pgrep -fx '/bin/sleep 860[01]' -a | cut -d' ' -f2-").stdout
    assert seen == "/bin/sleep 8601\n"


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"Service]": {}}, "cannot name a section"),
        ({"Service": {"A=B": 1}}, "cannot be a key"),
        ({"Service": {"A": None}}, "Service.A is nothing"),
        ({"Service": {"A": {"b": 1}}}, "Service.A is a structure"),
        ({"Service": {"A": ["x", "y\nz"]}}, "Service.A holds a line break"),
        ({"Service": {"A": "x \\"}}, "ends with a backslash"),
    ],
)
def test_what_cannot_be_written_is_refused(sections: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("(", r"\(")):
        _unitfiles.rendered(sections)


def test_unit_files_are_read_as_systemd_does() -> None:
    text = "[Unit]\n# x\nDescription = a \\\n; amidst\n b\n[Service]\nExecStart=one\nExecStart=\nExecStart=two=2\nnothing\n"
    assert _unitfiles.entries(text) == [
        ("Unit", "Description", "a  b"), ("Service", "ExecStart", "one"), ("Service", "ExecStart", ""),
        ("Service", "ExecStart", "two=2"),
    ]  # fmt: skip
    assert _unitfiles.values(text, "Service", "ExecStart") == ["two=2"]
    assert _unitfiles.last(text, "Unit", "Description") == "a  b"
    assert _unitfiles.last(text, "Unit", "After") is None


def test_an_older_systemd_gets_no_option_that_it_does_not_know() -> None:
    assert "ProtectClock" in _unitfiles.hardened("basic", "", 247)
    assert "ProtectClock" not in _unitfiles.hardened("basic", "", 237)
    assert set(_unitfiles.hardened("strict", "", 252)) >= set(_unitfiles.hardened("basic", "", 252))
    assert _unitfiles.hardened(None, "", 252) == {}


SAID = """/run/f/./a.service:2: Unknown key 'B' in section [Service], ignoring.
/lib/systemd/system/other.service:9: Unknown key 'C' in section [Service], ignoring.
/run/f/a.service:3: Standard output type syslog is obsolete, automatically updating to journal.
/run/f/later.service:1: Failed to parse
other.service: Command /x is not executable: No such file or directory
a.service: Command /y is not executable: No such file or directory
a.service: Failed to create a.service/start: Unit z.service not found.
"""


def test_remarks_on_other_units_are_not_ours() -> None:
    verdict = sorted_out(SAID, "/run/f", "a.service", {"a.service": "[Service]\nB=1\nStandardOutput=syslog\n"})
    assert verdict.errors == [f"{UNITS}/a.service:2: Unknown key 'B' in section [Service], ignoring. (`B=1`)"]
    assert [line.split(":")[1].split()[0] for line in verdict.absent] == ["Command", "Failed"]
    assert len(verdict.remarks) == 1 and "StandardOutput=syslog" in verdict.remarks[0]
    tried = sorted_out("t@i.service: has no ExecStart=. Refusing.\nUnit t@i.service has a bad unit file setting.\n",
                       "/run/f", "t@.service", {"t@.service": ""})  # fmt: skip
    assert tried.errors == ["t@i.service: has no ExecStart=. Refusing."]
