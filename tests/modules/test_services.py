"""Services and units on real systemds, as tables: state before, parameters, outcome."""

from __future__ import annotations

import pytest

from opsplay.lab import LabHost
from opsplay.modules.services._units import full_name, parse_show
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import Case, previews, prove

_SLEEP = "[Service]\nExecStart=/bin/sleep 600\n"
_INSTALL = "[Install]\nWantedBy=multi-user.target\n"
_UNITS = {
    "t-one.service": _SLEEP + "ExecReload=/bin/true\n" + _INSTALL,
    "t-many@.service": _SLEEP.replace("600", "60%i") + _INSTALL,
    "t-static.service": _SLEEP,
    "t-also.service": _SLEEP + "[Install]\nAlso=t-one.service\n",
    "t-alias.service": _SLEEP + _INSTALL + "Alias=t-other.service\n",
    "t-bad.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo the disk is upside down; exit 3'\n",
    "t-dies.service": "[Service]\nType=simple\nRestart=always\nRestartSec=60\nExecStart=/bin/sh -c 'echo no; exit 4'\n",
    "t-tick.timer": "[Timer]\nOnCalendar=yearly\nUnit=t-static.service\n[Install]\nWantedBy=timers.target\n",
    "t-door.socket": "[Socket]\nListenStream=/run/t-door\n[Install]\nWantedBy=sockets.target\n",
    "t-door.service": _SLEEP + "StandardInput=socket\n",
}
_NAMES = "t-one t-many@1 t-static t-also t-alias t-bad t-dies t-tick.timer t-door.socket t-door"
_SCRIPT = """#!/bin/sh
### BEGIN INIT INFO
# Provides: t-old
# Required-Start: $remote_fs
# Required-Stop: $remote_fs
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
case $1 in
start) touch /run/t-old ;;
stop) rm -f /run/t-old ;;
restart) touch /run/t-old /run/t-old-again ;;
status) test -e /run/t-old || exit 3 ;;
esac
"""
# Back to: all units there, none running, enabled or masked.
FRESH = (
    f"systemctl -q unmask {_NAMES} 2>/dev/null; systemctl -q disable {_NAMES} 2>/dev/null; systemctl stop {_NAMES};"
    f"systemctl reset-failed {_NAMES} 2>/dev/null;"
    + "".join(f"printf %s {text!r} | sed 's/\\\\n/\\n/g' > /etc/systemd/system/{name};" for name,
    text in _UNITS.items())
    + "systemctl daemon-reload;"
)


def unit(name: str) -> str:
    return f"systemctl is-active {name}; systemctl is-enabled {name} 2>/dev/null"


CASES = [
    Case("is started", {"name": "t-one", "state": "started"}, FRESH, unit("t-one"), "active\ndisabled",
         result={"name": "t-one", "state": "started"}),
    Case("is started and enabled", {"name": "t-one.service", "state": "started", "enabled": True}, FRESH, unit("t-one"),
         "active\nenabled", result={"enabled": True}),
    Case("runs already", {"name": "t-one", "state": "started"}, FRESH + "systemctl start t-one", changed=False),
    Case("is stopped and disabled", {"name": "t-one", "state": "stopped", "enabled": False},
         FRESH + "systemctl -q enable --now t-one", unit("t-one"), "inactive\ndisabled", result={"state": "stopped"}),
    Case("is stopped already", {"name": "t-one", "state": "stopped"}, FRESH, changed=False),
    Case("is restarted", {"name": "t-one", "state": "restarted"}, FRESH, unit("t-one"), "active\ndisabled",
         repeats=True),
    Case("is reloaded", {"name": "t-one", "state": "reloaded"}, FRESH + "systemctl start t-one", unit("t-one"),
         "active\ndisabled", repeats=True),
    Case("reloading starts it", {"name": "t-one", "state": "reloaded"}, FRESH, unit("t-one"), "active\ndisabled",
         repeats=True),
    Case("is masked", {"name": "systemd-hostnamed", "masked": True}, "systemctl -q unmask systemd-hostnamed",
         "systemctl is-enabled systemd-hostnamed", "masked", module="services.systemd"),
    Case("a unit that is not there is masked", {"name": "t-never", "masked": True}, "systemctl -q unmask t-never",
         "systemctl is-enabled t-never 2>/dev/null", "masked", module="services.systemd"),
    Case("a masked one cannot start", {"name": "systemd-hostnamed", "state": "started"},
         "systemctl -q mask systemd-hostnamed", fails="set masked: false"),
    Case("the mask goes", {"name": "systemd-hostnamed", "masked": False}, "systemctl -q mask systemd-hostnamed",
         "systemctl is-enabled systemd-hostnamed", "static", module="services.systemd"),
    Case("an instance of a template", {"name": "t-many@1", "state": "started", "enabled": True}, FRESH,
         unit("t-many@1"),
         "active\nenabled"),
    Case("a static unit cannot be disabled", {"name": "t-static", "enabled": False}, FRESH, changed=False,
         warns="no [Install] section"),
    Case("a static unit counts as enabled", {"name": "t-static", "enabled": True}, FRESH, changed=False),
    Case("an indirect unit enables others", {"name": "t-also", "enabled": True}, FRESH, unit("t-one"),
         "inactive\nenabled"),
    Case("an indirect unit disables others", {"name": "t-also", "enabled": False}, FRESH + "systemctl -q enable t-also",
         unit("t-one"), "inactive\ndisabled"),
    Case("an alias", {"name": "t-other", "state": "stopped"}, FRESH + "systemctl -q enable --now t-alias",
         unit("t-alias"),
         "inactive\nenabled"),
    Case("a timer", {"name": "t-tick.timer", "state": "started", "enabled": True}, FRESH, unit("t-tick.timer"),
         "active\nenabled", module="services.systemd"),
    Case("a socket", {"name": "t-door.socket", "state": "started"}, FRESH, unit("t-door.socket"), "active\ndisabled",
         module="services.systemd"),
    Case("enabled until the next boot is not enabled", {"name": "t-one", "enabled": True},
         FRESH + "systemctl -q --runtime enable t-one", "systemctl is-enabled t-one", "enabled"),
    Case("is missing", {"name": "t-nothing", "state": "started"}, fails="there is no unit t-nothing.service"),
    Case("nothing asked", {"name": "t-one"}, fails="give state, enabled, or both"),
    Case("a name is needed", {"state": "started"}, fails="needs name", module="services.systemd"),
    Case("units are read again", {"name": "t-new", "state": "started", "daemon_reload": True},
         "printf '[Service]\\nExecStart=/bin/sleep 600\\n' > /etc/systemd/system/t-new.service; systemctl stop t-new",
         "systemctl is-active t-new", "active", module="services.systemd"),
    Case("just units read again", {"daemon_reload": True}, changed=False, module="services.systemd"),
    Case("systemd executed again", {"daemon_reexec": True}, changed=False, module="services.systemd"),
    Case("for all users", {"name": "t-user", "enabled": True, "scope": "global"},
         "printf '[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=default.target\\n' > "
         "/etc/systemd/user/t-user.service; systemctl --global -q disable t-user", "systemctl --global is-enabled t-user", "enabled",
         module="services.systemd"),
    Case("a user without a manager", {"name": "t-user", "state": "started", "scope": "user"}, fails="enable-linger",
         module="services.systemd"),
    Case("without waiting", {"name": "t-one", "state": "started", "no_block": True}, FRESH, module="services.systemd"),
    Case("a driver that there is not", {"name": "t-one", "state": "started", "use": "runit"}, fails="not supported"),
]  # fmt: skip

_OLD = f"cat > /etc/init.d/t-old <<'E'\n{_SCRIPT}E\nchmod +x /etc/init.d/t-old; rm -f /run/t-old*;"
_OLD += "update-rc.d t-old remove;"
SYSV = [
    Case("is started and enabled", {"name": "t-old", "state": "started", "enabled": True, "use": "sysvinit"}, _OLD,
         "ls /run/t-old /etc/rc2.d/S*t-old 2>/dev/null", "/etc/rc2.d/S01t-old\n/run/t-old"),
    Case("is stopped and disabled", {"name": "t-old", "state": "stopped", "enabled": False, "use": "sysvinit"},
         _OLD + "touch /run/t-old; update-rc.d t-old defaults", "ls /run/t-old /etc/rc2.d/S*t-old 2>/dev/null", ""),
    Case("is restarted", {"name": "t-old", "state": "restarted", "use": "sysvinit"}, _OLD, "ls /run/t-old*",
         "/run/t-old\n/run/t-old-again", repeats=True),
    Case("is stopped between", {"name": "t-old", "state": "restarted", "sleep": 1, "use": "sysvinit"}, _OLD,
         "ls /run/t-old*", "/run/t-old", repeats=True),
    Case("is known by its command line", {"name": "t-old", "state": "started", "pattern": "systemd-journald",
                                          "use": "sysvinit"}, _OLD, "ls /run/t-old*", "", changed=False),
    Case("is missing", {"name": "t-none", "state": "started", "use": "sysvinit"}, fails="no /etc/init.d/t-none"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES, ids=str)
def test_units(debian: LabHost, case: Case) -> None:
    prove(debian, "services.service", case)


@pytest.mark.lab
@pytest.mark.parametrize("case", SYSV, ids=str)
def test_scripts_of_system_v(bookworm: LabHost, case: Case) -> None:
    # `service` and the scripts' own functions hand over to systemd where it runs: this PATH has none of that.
    bookworm.run("mkdir -p /usr/local/sbin; printf '#!/bin/sh\\nname=$1; shift\\nexec /etc/init.d/$name \"$@\"\\n' > "
                 "/usr/local/sbin/service; chmod +x /usr/local/sbin/service")  # fmt: skip
    try:
        prove(bookworm, "services.service", case)
    finally:
        bookworm.run("rm /usr/local/sbin/service")


@pytest.mark.lab
def test_a_failed_start_says_why(debian: LabHost) -> None:
    debian.run(FRESH)
    bad, dies = run_calls(
        debian,
        [
            Call("services.service", {"name": "t-bad", "state": "started"}),
            Call("services.systemd", {"name": "t-dies", "state": "started"}),
        ],
    )
    assert bad["failed"] and bad["rc"] == 1
    for words in ("cannot start t-bad.service", "the disk is upside down", "status=3", "journalctl -u t-bad.service"):
        assert words in bad["msg"]
    assert not dies.get("failed")
    again = run_calls(debian, [Call("services.systemd", {"name": "t-dies", "state": "started"})])[0]
    assert "ends again and again" in again["warnings"][0] and again["changed"] is False


@pytest.mark.lab
def test_the_status_is_all_that_systemd_shows(debian: LabHost) -> None:
    result = run_calls(debian, [Call("services.systemd", {"name": "systemd-journald"})])[0]
    status = result["status"]
    assert status["ActiveState"] == "active" and status["Id"] == "systemd-journald.service"
    assert "systemd-journald.socket" in status["TriggeredBy"].split() and "path=" in status["ExecStart"]
    assert len(status) > 150
    assert result["changed"] is False


@pytest.mark.lab
def test_a_preview_knows_units_that_earlier_tasks_would_bring(bookworm: LabHost) -> None:
    unit_file = {"content": "[Service]\nExecStart=/bin/true\n", "dest": "/etc/systemd/system/t-later@.service"}
    results = previews(
        bookworm,
        [
            ("services.service", {"name": "t-later@x", "state": "started"}),
            ("files.copy", unit_file),
            ("services.systemd", {"name": "t-later@x", "state": "started", "enabled": True, "daemon_reload": True}),
            ("services.systemd", {"name": "t-later@x", "state": "started", "enabled": True}),
            ("services.systemd", {"name": "t-later@x", "state": "stopped"}),
            ("services.systemd", {"name": "t-later@x", "state": "started"}),
            ("packages.apt", {"name": "nonesuch", "update_cache": True}),
            ("services.service", {"name": "nonesuch", "state": "started", "enabled": True}),
        ],
    )
    assert [result["changed"] for result in results] == [False, True, True, False, True, True, True, False]
    assert [bool(result.get("failed")) for result in results] == [True] + [False] * 7
    assert "taken to come with a package" in results[-1]["warnings"][0]


SHOWN = """Type=simple
ExecStart={ path=/bin/sh ; argv[]=/bin/sh -c echo a=b
second line=2 ; ignore_errors=no ; status=0/0 }
ExecStart={ path=/bin/true ; argv[]=/bin/true ; status=0/0 }
Environment=A=1 B=2
Description=x
UnitFileState=enabled
"""


def test_what_systemctl_shows_is_understood() -> None:
    status = parse_show(SHOWN)
    assert list(status) == ["Type", "ExecStart", "Environment", "Description", "UnitFileState"]
    assert status["Environment"] == "A=1 B=2" and status["UnitFileState"] == "enabled"
    first, second, third = status["ExecStart"].split("\n")
    assert first.endswith("a=b") and second.startswith("second line=2") and "/bin/true" in third
    assert parse_show("") == {}


@pytest.mark.parametrize(
    ("name", "full"),
    [("cron", "cron.service"), ("a.timer", "a.timer"), ("x@1.2", "x@1.2.service"), ("getty@tty1",
    "getty@tty1.service")],
)
def test_names_get_their_type(name: str, full: str) -> None:
    assert full_name(name) == full
