"""Updates that install themselves, as a table, tried by apt and by unattended-upgrades."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opsplay.lab import LabHost
from opsplay.modules.packages import _periodic
from opsplay.modules.packages.unattended_upgrades import Expression, Origin
from tests.lab.remote_module import Call, run_calls
from tests.modules import RELEASES
from tests.modules.cases import Case, prove

MODULE = "packages.unattended_upgrades"
PATH = "/etc/apt/apt.conf.d/52opsplay-unattended-upgrades"
CLEAN = f"rm -rf {PATH} /etc/apt/apt.conf.d/99late /etc/apt/apt.conf.d/99opsplay /etc/systemd/system/apt-daily-upgrade.timer.d; systemctl daemon-reload;"


def effective(*keys: str) -> str:
    """A script that shows what apt makes of settings."""
    return "apt-config dump | grep -E '^(" + "|".join(keys) + ")(::)* ' | grep -v '\"\";$'; true"


ORIGINS = effective("Unattended-Upgrade::Origins-Pattern")
SECURITY = (
    'Unattended-Upgrade::Origins-Pattern:: "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";\n'
    'Unattended-Upgrade::Origins-Pattern:: "origin=Debian,codename=${distro_codename},label=Debian-Security";'
)
P, U = "APT::Periodic::", "Unattended-Upgrade::"
# The timers would start apt, which the tests need for themselves.
QUIET = {"timers": False}
CASES = [
    Case("security alone", QUIET, CLEAN, ORIGINS, SECURITY),
    Case("every day", QUIET, CLEAN, effective(P + ".*"),
         f'{P}Update-Package-Lists "1";\n{P}Unattended-Upgrade "1";\n{P}Enable "1";\n{P}AutocleanInterval "7";'),
    Case("others too", {**QUIET, "origins": ["updates", "origin=Docker,label=Docker CE"]}, CLEAN, ORIGINS,
         f'{U}Origins-Pattern:: "origin=Debian,codename=${{distro_codename}}-updates";\n{U}Origins-Pattern:: "origin=Docker,label=Docker CE";'),
    Case("some left alone", {**QUIET, "exclude": ["linux-", "postgresql-.*"]}, CLEAN, effective(U + "Package-Blacklist"),
         f'{U}Package-Blacklist:: "linux-";\n{U}Package-Blacklist:: "postgresql-.*";'),
    Case("restarts at night", {**QUIET, "reboot": "04:30"}, CLEAN, effective(U + "Automatic-Reboot.*"),
         f'{U}Automatic-Reboot "true";\n{U}Automatic-Reboot-Time "04:30";\n{U}Automatic-Reboot-WithUsers "false";'),
    Case("no restarts", QUIET, CLEAN, effective(U + "Automatic-Reboot"), f'{U}Automatic-Reboot "false";'),
    Case("mail", {**QUIET, "mail": "ops@example.org", "mail_report": "only-on-error"}, CLEAN, effective(U + "Mail.*"),
         f'{U}Mail "ops@example.org";\n{U}MailReport "only-on-error";'),
    Case("nothing removed", {**QUIET, "remove_unused": False}, CLEAN, effective(U + "Remove-.*"),
         f'{U}Remove-Unused-Dependencies "false";\n{U}Remove-New-Unused-Dependencies "false";\n{U}Remove-Unused-Kernel-Packages "false";'),
    Case("a time of its own", {**QUIET, "at": "03:15", "spread": "10m"}, CLEAN,
         "systemctl show -p TimersCalendar -p RandomizedDelayUSec apt-daily-upgrade.timer | sed 's/ ;.*//' | sort",
         "RandomizedDelayUSec=10min\nTimersCalendar={ OnCalendar=*-*-* 03:15:00"),
    Case("Debian's time again", QUIET, CLEAN + "mkdir /etc/systemd/system/apt-daily-upgrade.timer.d;"
         "printf '[Timer]\\nOnCalendar=\\nOnCalendar=03:15\\n' > /etc/systemd/system/apt-daily-upgrade.timer.d/opsplay.conf",
         "ls /etc/systemd/system/apt-daily-upgrade.timer.d 2>&1 | grep -c 'No such'", "1"),
    Case("the timers run", {}, CLEAN + "systemctl disable --now apt-daily.timer apt-daily-upgrade.timer",
         "systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer; systemctl is-active apt-daily.timer apt-daily-upgrade.timer",
         "enabled\nenabled\nactive\nactive"),
    Case("away", {"state": "absent"}, CLEAN + f"echo 'A \"b\";' > {PATH}", f"ls {PATH} 2>&1 | grep -c 'No such'", "1"),
    Case("away already", {"state": "absent"}, CLEAN, changed=False),
    Case("overruled", QUIET, CLEAN + f"echo '{P}Unattended-Upgrade \"0\";' > /etc/apt/apt.conf.d/99late", ORIGINS,
         fails=f"{P}Unattended-Upgrade would be ['0'], not ['1'], for /etc/apt/apt.conf.d/99late comes after {PATH}"),
    Case("overruled, and named to sort behind", {**QUIET, "name": "99opsplay"}, CLEAN + f"echo '{P}Unattended-Upgrade \"0\";' > /etc/apt/apt.conf.d/99late",
         effective(P + "Unattended-Upgrade"), f'{P}Unattended-Upgrade "1";'),
    Case("a list that grows behind", QUIET, CLEAN + f"echo '{U}Package-Blacklist {{ \"x\"; }};' > /etc/apt/apt.conf.d/99late", ORIGINS,
         fails="Package-Blacklist would be ['x'], not []"),
    Case("another file is broken", QUIET, CLEAN + "echo 'A { \"x' > /etc/apt/apt.conf.d/99late", "true",
         fails="apt cannot read these settings: Syntax error /etc/apt/apt.conf.d/99late:2"),
    Case("no time", {**QUIET, "at": "soon"}, CLEAN, fails="at: "),
    Case("no span", {**QUIET, "at": "3:00", "spread": "wide"}, CLEAN, fails="spread: "),
    Case("no time for a restart", {**QUIET, "reboot": "25:00"}, CLEAN, fails="neither now nor a time such as 04:30"),
    Case("no address", {**QUIET, "mail": 'a";'}, CLEAN, fails="is no address"),
]  # fmt: skip


@pytest.fixture(scope="module")
def updated(fleet: dict[str, LabHost]) -> Callable[[str], LabHost]:
    """Hosts of the fleet with unattended-upgrades."""
    ready: set[str] = set()

    def host(release: str) -> LabHost:
        if release not in ready:
            fleet[release].run("apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "
                               "unattended-upgrades", timeout=180)  # fmt: skip
            ready.add(release)
        return fleet[release]

    return host


@pytest.mark.parametrize("case", CASES, ids=str)
def test_settings(updated: Callable[[str], LabHost], case: Case) -> None:
    host = updated("bookworm")
    try:
        prove(host, MODULE, case)
    finally:
        host.run(CLEAN + "systemctl disable --now apt-daily.timer apt-daily-upgrade.timer")


@pytest.mark.parametrize("release", RELEASES)
def test_unattended_upgrades_takes_them(updated: Callable[[str], LabHost], release: str) -> None:
    """On each release its own dry run allows the origins that the file names, and nothing else."""
    host = updated(release)
    params = {**QUIET, "exclude": ["linux-"], "reboot": "now", "mail": "root"}
    try:
        prove(host, MODULE, Case("all", params, CLEAN))
        said = host.run("unattended-upgrade --dry-run -v 2>&1", timeout=120).stdout
    finally:
        host.run(CLEAN)
    allowed = next(line for line in said.splitlines() if line.startswith("Allowed origins"))
    assert f"codename={release}-security" in allowed and "label=Debian," not in allowed + ","
    assert "linux-" in next(line for line in said.splitlines() if "nitial blacklist" in line)


def test_what_the_program_itself_refuses(updated: Callable[[str], LabHost]) -> None:
    """A setting of another file that only unattended-upgrades understands."""
    host = updated("bookworm")
    host.run(CLEAN + f"echo '{U}Package-Whitelist {{ \"(\"; }};' > /etc/apt/apt.conf.d/99late")
    try:
        result = run_calls(host, [Call(MODULE, QUIET)])[0]
        assert result["failed"] and "unattended-upgrades refuses these settings" in result["msg"], result
        assert host.run(f"test -e {PATH}", check=False).returncode == 1
    finally:
        host.run(CLEAN)


def test_a_host_without_it(full: Callable[[str], LabHost]) -> None:
    """Refused; but in a preview in which an earlier task would install it, foretold."""
    host = full("bookworm")
    host.run("apt-get -q update", timeout=60)
    calls = [Call(MODULE, {}), Call("packages.apt", {"name": ["unattended-upgrades"]}, check=True), Call(MODULE, {}, check=True)]
    alone, _, after = run_calls(host, calls)
    assert alone["failed"] and "install that package first" in alone["msg"]
    assert after["changed"] and not after.get("failed"), after


@pytest.mark.parametrize(
    ("origin", "says"),
    [("nonsense", "'nonsense' is no origin; write security"), ("foo=bar", "cannot be matched"), ('origin="x"', "quotation"), (5, "expected")],
)  # fmt: skip
def test_what_is_no_origin(origin: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Origin().convert(origin)


@pytest.mark.parametrize("text", ["(", 'a"b', "a\nb"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(ValueError):
        Expression().convert(text)


def test_apt_config_is_read() -> None:
    text = 'A "";\nA::B "1";\nA::L "";\nA::L:: "x";\nA::L:: "y z";\n'
    assert _periodic.parsed(text) == {"A": [""], "A::B": ["1"], "A::L": ["x", "y z"]}
