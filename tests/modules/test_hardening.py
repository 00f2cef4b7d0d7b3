"""Limits and banners on real hosts, as tables: state before, parameters, outcome, and what a login then meets."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

import pytest

from opsplay.lab import LabHost
from opsplay.modules.hardening.limits import ITEMS
from opsplay.modules.hardening.login_banner import without_escapes
from tests.lab.remote_module import run_module
from tests.modules.cases import Case, previews, prove

LIMITS, BANNER = "hardening.limits", "hardening.login_banner"
FOLDER = "/etc/security/limits.d"
NONE = f"rm -f {FOLDER}/l-*;"


def of(kind: str) -> str:
    return f"cat {FOLDER}/l-*.conf 2>/dev/null; su - admin -c '{kind}'"


LIMIT_CASES = [
    Case("for everybody", {"name": "l-a", "limits": {"nofile": 5000, "core": 0}}, NONE,
         of("ulimit -Sn; ulimit -Hn; ulimit -Sc"), "* - core 0\n* - nofile 5000\n5000\n5000\n0",
         result={"path": f"{FOLDER}/l-a.conf"}),
    Case("is there already", {"name": "l-a", "limits": {"nofile": 5000}},
         NONE + f"echo '* - nofile 5000' > {FOLDER}/l-a.conf", changed=False),
    Case("soft and hard", {"name": "l-a.conf", "limits": {"nofile": {"soft": 1000, "hard": "2000"}, "core": "unlimited"}},
         NONE, of("ulimit -Sn; ulimit -Hn; ulimit -c"),
         "* - core unlimited\n* soft nofile 1000\n* hard nofile 2000\n1000\n2000\nunlimited"),
    Case("one of the two", {"name": "l-a", "type": "soft", "limits": {"nofile": 700, "core": {"hard": 0}}}, NONE,
         of("ulimit -Sn; test $(ulimit -Hn) -gt 700 && echo more"), "* hard core 0\n* soft nofile 700\n700\nmore"),
    Case("for a user", {"name": "l-a", "domain": "admin", "limits": {"nofile": 800}}, NONE,
         of("ulimit -n") + "; su - ops -c 'ulimit -Hn' | grep -cx 800", "admin - nofile 800\n800\n0"),
    Case("for a group", {"name": "l-a", "domain": "@admin", "limits": {"nofile": 800}}, NONE, of("ulimit -n"),
         "@admin - nofile 800\n800"),
    Case("for a range", {"name": "l-a", "domain": "1000:60000", "limits": {"nofile": 800, "nice": -5}}, NONE,
         of("ulimit -n"), "1000:60000 - nice -5\n1000:60000 - nofile 800\n800"),
    Case("one may not log in", {"name": "l-a", "domain": "plain", "limits": {"maxlogins": 0}}, NONE, of("echo in"),
         "plain - maxlogins 0\nin"),
    Case("goes", {"name": "l-a", "state": "absent"}, NONE + f"touch {FOLDER}/l-a.conf", f"ls {FOLDER} | grep l-", ""),
    Case("no item", {"name": "l-a", "limits": {"nofiles": 5}}, NONE, f"ls {FOLDER}", fails="'nofiles' is no item"),
    Case("no number", {"name": "l-a", "limits": {"nproc": "many"}}, fails="'many' is no number"),
    Case("soft above hard", {"name": "l-a", "limits": {"core": {"soft": "unlimited", "hard": 5}}},
         fails="soft limit (unlimited) above the hard one (5)"),
    Case("neither soft nor hard", {"name": "l-a", "limits": {"core": {"weak": 5}}}, fails="dictionary of soft and hard"),
    Case("more files than the kernel allows", {"name": "l-a", "limits": {"nofile": 1 << 40}}, fails="fs.nr_open"),
    Case("unlimited files", {"name": "l-a", "limits": {"nofile": "unlimited"}}, fails="cannot be unlimited"),
    Case("too few processes to log in", {"name": "l-a", "limits": {"nproc": 1}}, fails="at least 16"),
    Case("nobody may log in", {"name": "l-a", "limits": {"maxlogins": 0}}, fails="at least 1"),
    Case("out of range", {"name": "l-a", "limits": {"nice": 40}}, fails="from -20 to 19"),
    Case("no such user", {"name": "l-a", "domain": "nosuch", "limits": {"core": 0}}, fails="no user 'nosuch'"),
    Case("no such group", {"name": "l-a", "domain": "@nosuch", "limits": {"core": 0}}, fails="no group 'nosuch'"),
    Case("no range", {"name": "l-a", "domain": "a:b", "limits": {"core": 0}}, fails="no range of numbers"),
    Case("two domains", {"name": "l-a", "domain": "a b", "limits": {"core": 0}}, fails="no blank"),
    Case("nothing", {"name": "l-a"}, fails="limits is needed"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", LIMIT_CASES, ids=str)
def test_limits(debian: LabHost, case: Case) -> None:
    prove(debian, LIMITS, case)


@pytest.mark.lab
def test_the_least_limits_still_let_users_in(debian: LabHost) -> None:
    """With all limits at the least that the module allows, a login over SSH runs commands."""
    debian.run(PLAIN + NONE)
    least = {item: low for item, (low, most) in ITEMS.items() if low > 0 and item != "maxsyslogins"}
    assert not run_module(debian, LIMITS, {"name": "l-a", "limits": least}).get("failed")
    seen = login(debian, "ulimit -n; id -un; ls -d /etc")
    assert seen.split()[:3] == [str(least["nofile"]), "admin", "/etc"]
    debian.run(f"echo '* - nproc 1' > {FOLDER}/l-a.conf")
    assert "/etc" not in login(debian, "id -un; ls -d /etc")
    debian.run(NONE)


@pytest.mark.lab
def test_a_preview_knows_the_kernel_s_coming_bound(bookworm: LabHost) -> None:
    most = int(bookworm.run("cat /proc/sys/fs/nr_open").stdout)
    more = {"name": "l-a", "domain": "newcomer", "limits": {"nofile": most + 1000}}
    results = previews(
        bookworm,
        [
            ("accounts.user", {"name": "newcomer"}),
            (LIMITS, more),
            ("system.sysctl", {"name": "fs.nr_open", "value": str(most * 2), "sysctl_set": True}),
            (LIMITS, more),
        ],
    )
    assert [bool(result.get("failed")) for result in results] == [False, True, False, False], results


# --- banners ---

_TEXTS = "printf 'Debian GNU/Linux 12 \\\\n \\\\l\\n\\n' > /etc/issue; echo net > /etc/issue.net; echo day > /etc/motd;"
PLAIN = _TEXTS + "chmod 755 /etc/update-motd.d/*; rm -f /etc/update-motd.d/9*;"
SHOW = "cat /etc/issue /etc/issue.net /etc/motd; stat -c %a /etc/update-motd.d/10-uname"

BANNERS = [
    Case("all texts", {"issue": "Keep out.", "issue_net": "Keep out!\n", "motd": "Welcome\nto us"}, PLAIN, SHOW,
         "Keep out.\nKeep out!\nWelcome\nto us\n755", result={"paths": ["/etc/issue", "/etc/issue.net", "/etc/motd"]}),
    Case("are there already", {"issue_net": "net", "motd": "day\n"}, PLAIN, changed=False),
    Case("no text", {"motd": ""}, PLAIN, "cat /etc/motd", ""),
    Case("a link goes", {"motd": "x"}, PLAIN + "ln -sf /run/motd /etc/motd", "stat -c %F /etc/motd", "regular file"),
    Case("no escapes of what is there", {"escapes": False}, PLAIN, "cat /etc/issue", "Debian GNU/Linux 12 \\l"),
    Case("no escapes of what is given", {"issue": "\\S{NAME} keep out of \\n", "escapes": False}, PLAIN, "cat /etc/issue",
         "keep out of"),
    Case("escapes that are wanted", {"issue": "On \\l"}, PLAIN, "cat /etc/issue", "On \\l"),
    Case("not dynamic", {"dynamic": False}, PLAIN, "stat -c %a /etc/update-motd.d/10-uname", "644",
         result={"paths": ["/etc/update-motd.d/10-uname"]}),
    Case("dynamic again", {"dynamic": True}, PLAIN + "chmod 644 /etc/update-motd.d/10-uname",
         "stat -c %a /etc/update-motd.d/10-uname", "755"),
    Case("a script that is a link", {"dynamic": False}, PLAIN + "ln -s /bin/true /etc/update-motd.d/90-x",
         "stat -Lc %a /etc/update-motd.d/90-x", "755", warns="is a link"),
    Case("nothing asked", {}, fails="nothing is asked for"),
    Case("a terminal's command", {"motd": "\x1b[2J"}, PLAIN, SHOW, fails="control character"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", BANNERS, ids=str)
def test_banners(debian: LabHost, case: Case) -> None:
    prove(debian, BANNER, case)


@pytest.mark.lab
def test_the_system_s_version_in_a_text_is_told(debian: LabHost) -> None:
    version = debian.run(". /etc/os-release; echo $VERSION_ID").stdout.strip()
    text = f"Debian GNU/Linux {version}"
    assert text in run_module(debian, BANNER, {"issue": text})["warnings"][0]
    assert "warnings" not in run_module(debian, BANNER, {"issue": "Debian"})


@pytest.mark.lab
def test_what_a_login_then_shows(fleet: Mapping[str, LabHost]) -> None:
    """A real login over SSH: our text, and none of the scripts'."""
    host = fleet["bookworm"]
    host.run(PLAIN)
    assert "Linux" in login(host)
    run_module(host, BANNER, {"motd": "Be careful.", "dynamic": False})
    seen = login(host)
    assert "Be careful." in seen and "Linux" not in seen


def login(host: LabHost, command: str = "") -> str:
    """What a user sees who logs in over SSH: the way in, or what a command says."""
    key = next(path for path in host.root.parents if (path / "key").exists()) / "key"
    argv = ["ssh", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    argv += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", f"admin@{host.address}"]
    argv += [command] if command else ["-tt"]
    done = subprocess.run(argv, input="exit\n", capture_output=True, text=True, timeout=30, check=False)
    return done.stdout


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Debian GNU/Linux 12 \\n \\l\n\n", "Debian GNU/Linux 12 \\l\n\n"),
        ("\\S\\n\\4{eth0}\nhello \\d\n", "hello \\d\n"),
        ("a\\\\b \\x\\", "a\\\\b \\x\\"),
        ("\\e{red}x", "\\e{red}x"),
        ("", ""),
    ],
)
def test_escapes_that_tell_go(text: str, left: str) -> None:
    assert without_escapes(text) == left
