"""Timers with their services on real systemds, as tables: state before, parameters, outcome."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.lab import LabHost
from opsplay.modules.services import _timers
from tests.lab.remote_module import Call, run_calls, run_module
from tests.modules.cases import Case, previews, prove

MODULE = "services.systemd_timer"
UNITS = "/etc/systemd/system"
STAMPS = "/var/lib/systemd/timers"
# Back to: none of the units below, in whatever zone.
FRESH = (
    "systemctl stop 't-*' 2>/dev/null;"
    f"rm -rf {UNITS}/t-* {UNITS}/*.wants/t-* {STAMPS}/stamp-t-* /run/t-*; ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime;"
    "systemctl daemon-reload; systemctl reset-failed 2>/dev/null;"
)
DAILY = {"name": "t-a", "exec": "/bin/true", "on_calendar": "*-*-* 02:00"}
MARK = _timers.MARK


def there(params: str = "OnCalendar=*-*-* 02:00\nPersistent=yes\n") -> str:
    """The units of DAILY are there, the timer is enabled and runs."""
    service = f"{MARK}[Unit]\nDescription=t-a\n\n[Service]\nType=oneshot\nExecStart=/bin/true\n"
    timer = f"{MARK}[Unit]\nDescription=Timer of t-a\n\n[Timer]\n{params}\n[Install]\nWantedBy=timers.target\n"
    return (
        FRESH + f"printf %s {shlex.quote(service)} > {UNITS}/t-a.service; printf %s {shlex.quote(timer)} > "
        f"{UNITS}/t-a.timer; systemctl daemon-reload; systemctl -q enable --now t-a.timer;"
    )


TIMER = "systemctl is-active t-a.timer; systemctl is-enabled t-a.timer 2>/dev/null;"
ACTIVE = "active\nenabled\n"
GONE = f"ls -d {UNITS}/t-* {UNITS}/*.wants/t-* {STAMPS}/stamp-t-* 2>/dev/null; systemctl list-units --all --plain --no-legend 't-*'"


def service(*keys: str) -> str:
    return "systemctl show t-a.service " + " ".join(f"-p {key}" for key in keys) + ";"


CASES = [
    Case("is installed", DAILY, FRESH, f"cat {UNITS}/t-a.service {UNITS}/t-a.timer;" + TIMER,
         f"{MARK}[Unit]\nDescription=t-a\n\n[Service]\nType=oneshot\nExecStart=/bin/true\n{MARK}[Unit]\n"
         "Description=Timer of t-a\n\n[Timer]\nOnCalendar=*-*-* 02:00\nPersistent=yes\n\n[Install]\n"
         "WantedBy=timers.target\n" + ACTIVE, result={"name": "t-a.timer", "service": "t-a.service"}),
    Case("is there already", DAILY, there(), changed=False),
    Case("with all that a service can have", {
            **DAILY, "description": "Back up", "user": "admin", "group": "ops", "working_directory": "/srv",
            "environment": {"A": "x y", "B": "50%"}, "environment_file": ["-/etc/t-none"], "timeout": "30min",
            "nice": 10, "io_class": "idle", "memory_max": "512M", "cpu_quota": "50%", "tasks_max": 64,
            "after": ["cron"], "service": {"UMask": "0077"}}, FRESH,
         service("Description", "User", "Group", "WorkingDirectory", "Environment", "TimeoutStartUSec", "Nice",
                 "IOSchedulingClass", "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "UMask", "Wants").replace(";", "") +
         "| sed 's/^IOSchedulingClass=3/IOSchedulingClass=idle/' | sort",
         'CPUQuotaPerSecUSec=500ms\nDescription=Back up\nEnvironment="A=x y" B=50%\nGroup=ops\n'
         "IOSchedulingClass=idle\nMemoryMax=536870912\nNice=10\nTasksMax=64\nTimeoutStartUSec=30min\nUMask=0077\n"
         "User=admin\nWants=cron.service\nWorkingDirectory=/srv"),
    Case("with all that a timer can have", {
            **DAILY, "on_calendar": ["Sat *-*-1..7 04:00", "Mon,Wed 12:00"], "persistent": False,
            "randomized_delay": "1h", "accuracy": "1s", "wake": False, "on_boot": "40000h",
            "timer": {"RemainAfterElapse": True}}, FRESH,
         f"sed -n '/Timer]/,/^$/p' {UNITS}/t-a.timer", "[Timer]\nOnCalendar=Sat *-*-1..7 04:00\n"
         "OnCalendar=Mon,Wed 12:00\nPersistent=no\nOnBootSec=40000h\nRandomizedDelaySec=1h\nAccuracySec=1s\n"
         "RemainAfterElapse=yes"),
    Case("a shorthand beside a time", {**DAILY, "on_calendar": ["daily", "02:00"]}, FRESH,
         warns="fires at each of its expressions, not at their combination: 'daily' means *-*-* 00:00:00, '02:00' means"
               " *-*-* 02:00:00"),
    Case("a regular interval", {"name": "t-a", "exec": "/bin/true", "on_unit_active": "30s"}, FRESH,
         f"sed -n '/Timer]/,/^$/p' {UNITS}/t-a.timer", "[Timer]\nOnActiveSec=30s\nOnUnitActiveSec=30s\nAccuracySec=1s"),
    Case("for a unit that is there", {"name": "t-a", "unit": "cron", "on_calendar": "*-*-* 02:00"}, FRESH,
         f"ls {UNITS} | grep t-a; systemctl show -p Unit t-a.timer", "t-a.timer\nUnit=cron.service",
         result={"service": "cron.service"}),
    Case("another time", {**DAILY, "on_calendar": "*-*-* 03:00"}, there(),
         "systemctl show -p TimersCalendar t-a.timer | cut -d' ' -f3;" + TIMER, "03:00:00\n" + ACTIVE),
    Case("another program", {**DAILY, "exec": "/bin/echo x"}, there(), service("ExecStart") + TIMER + "true"),
    Case("not enabled", {**DAILY, "enabled": False}, there(), TIMER, "inactive\ndisabled"),
    Case("stopped by hand", DAILY, there() + "systemctl stop t-a.timer", TIMER, ACTIVE),
    Case("goes", {"name": "t-a", "state": "absent"}, there(), GONE, ""),
    Case("goes with its failures", {"name": "t-a.timer", "state": "absent"},
         there() + f"sed -i s,/bin/true,/bin/false, {UNITS}/t-a.service; systemctl daemon-reload; "
         "systemctl start t-a.service || true", GONE, ""),
    Case("another's service stays", {"name": "t-a", "state": "absent"},
         there() + f"sed -i 1d {UNITS}/t-a.service; systemctl daemon-reload", f"ls {UNITS} | grep t-", "t-a.service"),
    Case("is gone already", {"name": "t-a", "state": "absent"}, FRESH, changed=False),
    Case("is run now", {**DAILY, "exec": ["/bin/sh", "-c", "echo it is done; echo done >> /run/t-ran"],
                        "state": "started"}, FRESH, "cat /run/t-ran 2>/dev/null; systemctl is-active t-a.timer",
         "done\ndone\nactive", result={"exit_status": 0, "result": "success"}, repeats=True),
    Case("several commands", {**DAILY, "exec": [["/bin/sh", "-c", "echo 1 > /run/t-1"], ["/bin/sh", "-c", "echo $0%", "50%"]],
                              "state": "started"}, FRESH, repeats=True),
    Case("a text of several commands", {**DAILY, "exec": "/bin/true a \\\n  b\n/bin/true c\n"}, FRESH,
         f"grep Exec {UNITS}/t-a.service", "ExecStart=/bin/true a    b\nExecStart=/bin/true c"),
    Case("in a sandbox", {**DAILY, "hardening": "strict", "service": {"ProtectHome": "tmpfs"}}, FRESH,
         service("ProtectHome", "ProtectSystem"), "ProtectHome=tmpfs\nProtectSystem=strict"),
    Case("no such time", {**DAILY, "on_calendar": ["daily", "26:00"]}, there(), f"ls {UNITS}", fails="26:00"),
    Case("a time that never comes", {**DAILY, "on_calendar": "2020-01-01"}, FRESH, f"ls {UNITS}",
         fails="'2020-01-01' never comes"),
    Case("no such span", {**DAILY, "randomized_delay": "some"}, FRESH, f"ls {UNITS}", fails="randomized_delay: Failed"),
    Case("no such user", {**DAILY, "user": "nosuch"}, FRESH, f"ls {UNITS}", fails="no user 'nosuch'"),
    Case("no such folder", {**DAILY, "working_directory": "/nosuch"}, FRESH, f"ls {UNITS}", fails="/nosuch is not on"),
    Case("no such file of variables", {**DAILY, "environment_file": "/nosuch"}, fails="environment_file /nosuch"),
    Case("no such program", {**DAILY, "exec": "/opt/none"}, FRESH, f"ls {UNITS}", fails="/opt/none is not executable"),
    Case("no such unit on failure", {**DAILY, "on_failure": "alert@%n"}, FRESH, f"ls {UNITS}",
         fails="there is no unit alert@%n.service"),
    Case("no such unit", {"name": "t-a", "unit": "nosuch", "on_calendar": "daily"}, fails="no unit nosuch.service"),
    Case("a limit that is none", {**DAILY, "cpu_quota": "50"}, FRESH, f"ls {UNITS}", fails="(`CPUQuota=50`)"),
    Case("an unknown key", {**DAILY, "timer": {"OnCalender": "daily"}}, FRESH, f"ls {UNITS}", fails="OnCalender"),
    Case("a user for another's service", {"name": "t-a", "unit": "cron", "user": "admin", "on_calendar": "daily"},
         fails="user belongs to the service, that is cron.service"),
    Case("neither exec nor unit", {"name": "t-a", "on_calendar": "daily"}, fails="one of them"),
    Case("no time", {"name": "t-a", "exec": "/bin/true"}, fails="when?"),
    Case("a package's timer", {**DAILY, "name": "systemd-tmpfiles-clean"}, fails="belongs to a package"),
    Case("a package's timer does not go", {"name": "systemd-tmpfiles-clean", "state": "absent"},
         fails="belongs to a package"),
    Case("a word that is no path", {**DAILY, "exec": ["true", "a"]}, fails="begins with the program's whole path"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES, ids=str)
def test_timers(debian: LabHost, case: Case) -> None:
    prove(debian, MODULE, case)


@pytest.mark.lab
def test_the_result_says_what_was_understood(debian: LabHost) -> None:
    debian.run(FRESH + "ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime")
    params = {**DAILY, "on_calendar": ["Sat *-*-1..7 04:00"]}
    preview, real = (run_module(debian, MODULE, params, check=check) for check in (True, False))
    debian.run("ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime")
    assert preview["calendar"] == real["calendar"] and preview["next_elapse"] == real["next_elapse"]
    assert real["calendar"][0]["normalized"] == "Sat *-*-01..07 04:00:00"
    assert len(real["next_elapses"]) == 3 and real["next_elapses"][0] == real["next_elapse"]
    for text in real["next_elapses"]:
        moment = datetime.fromisoformat(text)
        assert (moment.weekday(), moment.hour) == (5, 4) and moment.day <= 7
        assert moment.utcoffset() in (timedelta(hours=1), timedelta(hours=2))
        assert moment > datetime.now(moment.tzinfo)


@pytest.mark.lab
def test_the_next_run_of_an_interval_is_told(debian: LabHost) -> None:
    debian.run(FRESH)
    params = {"name": "t-a", "exec": "/bin/true", "on_unit_active": "10min", "on_boot": "1s"}
    run_module(debian, MODULE, params)
    debian.run("sleep 1")
    result = run_module(debian, MODULE, params)
    away = datetime.fromisoformat(result["next_elapse"]).timestamp() - float(debian.run("date +%s").stdout)
    assert 590 < away <= 601 and not result["changed"]


@pytest.mark.lab
def test_a_run_that_fails_fails_the_task(debian: LabHost) -> None:
    debian.run(FRESH)
    params = {**DAILY, "exec": ["/bin/sh", "-c", "echo the disk is upside down; sleep 0.5; exit 3"], "state": "started"}
    result = run_module(debian, MODULE, params)
    assert result["failed"] and (result["exit_status"], result["result"]) == (3, "exit-code")
    assert "the disk is upside down" in result["msg"] and any("upside down" in line for line in result["journal"])
    slow = {**DAILY, "exec": "/bin/sleep 600", "state": "started", "wait": 1}
    late = run_module(debian, MODULE, slow)
    assert late["failed"] and "has not ended within 1 s" in late["msg"]


@pytest.mark.lab
def test_words_arrive_as_they_were_given(debian: LabHost) -> None:
    debian.run(FRESH)
    words = ["a b", "$HOME", "50%", "", "it's", '"q"', "back\\slash", ";", "line\nbreak", "*", "é", "${X}", "\\n"]
    script = 'for word; do printf "%s\\0" "$word"; done > /run/t-words; printf %s "$X" > /run/t-x'
    params = {**DAILY, "exec": ["/bin/sh", "-c", script, "sh", *words], "environment": {"X": 'a "b" $c %d\\'}}
    result = run_module(debian, MODULE, {**params, "state": "started"})
    assert not result.get("failed"), result
    assert debian.run("cat /run/t-words").stdout.split("\0")[:-1] == words
    assert debian.run("cat /run/t-x").stdout == 'a "b" $c %d\\'


@pytest.mark.lab
def test_a_new_time_that_has_passed_today_is_not_made_up_for(debian: LabHost) -> None:
    """A persistent timer that ran this night and is moved to a time that has passed does not fire at once."""
    script = {"exec": ["/bin/sh", "-c", "touch /run/t-ran"]}
    debian.run(FRESH)
    now = datetime.fromisoformat(debian.run("date -Is").stdout.strip())
    times = [(now + timedelta(minutes=minutes)).strftime("*-*-* %H:%M") for minutes in (-10, -5)]
    run_module(debian, MODULE, {**DAILY, **script, "on_calendar": times[0]})
    # It last ran ten minutes ago.
    debian.run(f"systemctl stop t-a.timer; touch -d '10 minutes ago' {STAMPS}/stamp-t-a.timer; systemctl start t-a.timer")
    result = run_module(debian, MODULE, {**DAILY, **script, "on_calendar": times[1]})
    assert result["changed"]
    assert debian.run("sleep 1; ls /run/t-ran 2>/dev/null || systemctl is-active t-a.timer").stdout == "active\n"


@pytest.mark.lab
def test_it_fires(debian: LabHost) -> None:
    """The timer, not the task, runs the service; and what follows a failure is started."""
    debian.run(FRESH + f"printf '[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"echo %%i > /run/t-alarm\"\\n' > {UNITS}/t-alert@.service;"
               "systemctl daemon-reload")  # fmt: skip
    params = {"name": "t-a", "exec": ["/bin/false"], "on_active": "1s", "on_failure": ["t-alert@%n"]}
    assert not run_module(debian, MODULE, params).get("failed")
    seen = debian.run("for n in 1 2 3 4 5 6 7 8; do sleep 0.5; test -e /run/t-alarm && break; done; cat /run/t-alarm").stdout
    assert seen == "t-a.service\n"


@pytest.mark.lab
def test_a_preview_knows_what_earlier_tasks_would_bring(bookworm: LabHost) -> None:
    bookworm.run(FRESH)
    service = {"Service": {"ExecStart": "/bin/true"}}
    job = {**DAILY, "user": "newcomer", "working_directory": "/srv/new", "on_failure": ["t-n"]}
    results = previews(
        bookworm,
        [
            (MODULE, job),
            ("accounts.user", {"name": "newcomer"}),
            ("files.file", {"path": "/srv/new", "state": "directory"}),
            ("services.systemd_unit", {"name": "t-n", "sections": service}),
            (MODULE, job),
            (MODULE, job),
            (MODULE, {"name": "t-a", "state": "absent"}),
            (MODULE, {"name": "t-a", "state": "absent"}),
            (MODULE, {**job, "state": "started"}),
            (MODULE, {"name": "t-b", "on_calendar": "daily", "exec": "/usr/bin/brought"}),
        ],
    )
    assert [bool(result.get("failed")) for result in results] == [True] + [False] * 9, results
    assert [result["changed"] for result in results] == [False, True, True, True, True, False, True, False, True, True]


CALENDAR = """  Original form: *-*-31 02:00 Europe/Berlin
Normalized form: *-*-31 02:00:00 Europe/Berlin
    Next elapse: Thu 2026-12-31 02:00:00 CET
       (in UTC): Thu 2026-12-31 01:00:00 UTC
       From now: 1 month 2 days left
   Iteration #2: Sun 2027-01-31 02:00:00 CET
       (in UTC): Sun 2027-01-31 01:00:00 UTC
       From now: 2 months 3 days left
"""


def test_schedules_are_read_in_any_zone() -> None:
    schedule = _timers.parse_calendar("x", CALENDAR)
    assert schedule.normalized == "*-*-31 02:00:00 Europe/Berlin" and schedule.elapses == [1798678800.0, 1801357200.0]
    utc = _timers.parse_calendar("x", "    Next elapse: Sun 2026-11-29 00:00:00 UTC\n       Iter. #2: Mon 2026-11-30 00:00:00 UTC\n")
    assert utc.elapses == [1795910400.0, 1795996800.0]
    assert _timers.parse_calendar("x", "Normalized form: y\n    Next elapse: never\n").elapses == []


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ("/bin/true", ["/bin/true"]),
        ("/bin/a x\n\n /bin/b\n", ["/bin/a x", "/bin/b"]),
        (["/bin/a", "x y", 3], ['/bin/a "x y" 3']),
        ([["/bin/a", "%"], "/bin/b %i", ["/bin/c"]], ["/bin/a %%", "/bin/b %i", "/bin/c"]),
        ([], []),
    ],
)  # fmt: skip
def test_commands(given: Any, lines: list[str]) -> None:
    assert _timers.commands(given) == lines


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_quoted_word_stays_one_word_on_one_line(word: str) -> None:
    """Read back as systemd reads it: within double quotes a backslash makes the next sign literal."""
    text = _timers.quoted(word)
    assert "\n" not in text
    inner = text[1:-1] if text.startswith('"') else text
    read, signs = "", iter(inner)
    for sign in signs:
        read += next(signs) if sign == "\\" else sign
    assert read.replace("%%", "%").replace("$$", "$") == word
    assert text.startswith('"') or not set(word) & set(" \t\"'\\;")


@pytest.mark.lab
def test_cut_off_anywhere_the_next_run_makes_it_good(bookworm: LabHost) -> None:
    for seconds in (0.1, 0.3, 0.45, 0.6, 0.75):
        bookworm.run(there("OnCalendar=*-*-* 05:00\nPersistent=yes\n"))
        run_calls(bookworm, [Call(MODULE, DAILY, interrupt_after=seconds)])
        assert bookworm.run(f"ls -d /run/.opsplay* {UNITS}/.opsplay* 2>/dev/null || true").stdout == ""
        whole, again = run_calls(bookworm, [Call(MODULE, DAILY)] * 2)
        assert not whole.get("failed") and not again["changed"]
        assert bookworm.run(TIMER + "systemctl show -p TimersCalendar t-a.timer | cut -d' ' -f3").stdout == ACTIVE + "02:00:00\n"
