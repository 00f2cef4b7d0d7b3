"""Mounts and fstab on real hosts, as tables: state before, parameters, outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsplay.lab import LabHost
from opsplay.modules.system._mounts import Entry, Mount, device, escaped, is_from, unescaped
from tests.lab.remote_module import Call, run_calls
from tests.modules import harness
from tests.modules.cases import Case, previews, prove

CLEAN = (
    "while umount '/srv/m x' /srv/m 2>/dev/null; do :; done; umount /srv/m 2>/dev/null; rm -rf /srv/* /etc/fstab.*~;"
    "printf '# of the host\\n/dev/none  /none  ext4  noauto   0 0\\n' > /etc/fstab; mkdir -p /srv/a /srv/b;"
)
FIRST = "# of the host\n/dev/none  /none  ext4  noauto   0 0\n"
LOOK = "cat /etc/fstab; findmnt -rno TARGET,FSROOT,FSTYPE | grep ^/srv; ls -d /srv/m* 2>/dev/null"
TMPFS = {"path": "/srv/m", "src": "tmpfs", "fstype": "tmpfs"}
BIND = {"path": "/srv/m", "src": "/srv/a", "fstype": "none", "opts": "bind"}
MOUNTED = CLEAN + "mkdir /srv/m; echo 'tmpfs /srv/m tmpfs size=1m 0 0' >> /etc/fstab; mount /srv/m;"

CASES = [
    Case("only written down", {**TMPFS, "opts": "size=1m", "state": "present"}, CLEAN, LOOK,
         FIRST + "tmpfs /srv/m tmpfs size=1m 0 0",
         result={"name": "/srv/m", "src": "tmpfs", "opts": "size=1m", "dump": "0", "passno": "0", "boot": "yes",
                 "fstab": "/etc/fstab", "fstype": "tmpfs", "backup_file": ""}),
    Case("mounted", {**TMPFS, "state": "mounted"}, CLEAN, LOOK,
         FIRST + "tmpfs /srv/m tmpfs defaults 0 0\n/srv/m / tmpfs\n/srv/m"),
    Case("a name with a blank", {**TMPFS, "path": "/srv/m x", "state": "mounted"}, CLEAN, LOOK,
         FIRST + "tmpfs /srv/m\\040x tmpfs defaults 0 0\n/srv/m\\x20x / tmpfs\n/srv/m x"),
    Case("not at boot", {**TMPFS, "state": "mounted", "boot": False, "passno": 2, "dump": 1}, CLEAN, LOOK,
         FIRST + "tmpfs /srv/m tmpfs defaults,noauto 1 2\n/srv/m / tmpfs\n/srv/m",
         result={"opts": "defaults,noauto", "boot": "no"}),
    Case("noauto once is enough", {**TMPFS, "state": "present", "opts": "noauto,ro", "boot": False}, CLEAN, LOOK,
         FIRST + "tmpfs /srv/m tmpfs noauto,ro 0 0"),
    Case("systemd is told", {**TMPFS, "state": "present"}, CLEAN + "systemctl daemon-reload",
         "systemctl show -p SourcePath --value srv-m.mount", "/etc/fstab"),
    Case("mounted already", {**TMPFS, "opts": "size=1m", "state": "mounted"}, MOUNTED, LOOK, changed=False),
    Case("spaces in fstab do not count", {**TMPFS, "opts": "size=1m", "state": "present"},
         CLEAN + "printf 'tmpfs\\t/srv/m   tmpfs\\tsize=1m\\n' >> /etc/fstab", changed=False),
    Case("other options, in place", {**TMPFS, "opts": "size=2m", "state": "mounted"}, MOUNTED + "touch /srv/m/kept",
         "tail -1 /etc/fstab; findmnt -no OPTIONS /srv/m | grep -o size=.*k; ls /srv/m",
         "tmpfs /srv/m tmpfs size=2m 0 0\nsize=2048k\nkept"),
    Case("options that no longer hold go", {**TMPFS, "opts": "size=1m", "state": "mounted"},
         MOUNTED + "sed -i s/size=1m/ro,size=1m/ /etc/fstab; mount -o remount,ro /srv/m",
         "findmnt -no OPTIONS /srv/m | cut -d, -f1", "rw"),
    Case("a folder", {**BIND, "state": "mounted"}, CLEAN + "touch /srv/a/file", "tail -1 /etc/fstab; ls /srv/m",
         "/srv/a /srv/m none bind 0 0\nfile"),
    Case("a folder that is mounted by hand", {**BIND, "state": "mounted"},
         CLEAN + "mkdir /srv/m; mount --bind /srv/a /srv/m",
         "tail -1 /etc/fstab; findmnt -rno TARGET | grep -c ^/srv/m", "/srv/a /srv/m none bind 0 0\n1"),
    Case("another folder takes its place", {**BIND, "src": "/srv/b", "state": "mounted"},
         CLEAN + "touch /srv/b/other; mkdir /srv/m; echo /srv/a /srv/m none bind >> /etc/fstab; mount /srv/m",
         "tail -1 /etc/fstab; findmnt -rno TARGET | grep -c ^/srv/m; ls /srv/m",
         "/srv/b /srv/m none bind 0 0\n1\nother"),
    Case("a device that is not there", {**TMPFS, "src": "/dev/nothing", "fstype": "ext4", "state": "mounted"}, CLEAN,
         LOOK, fails="there is no /dev/nothing"),
    Case("unmounted", {"path": "/srv/m", "state": "unmounted"}, MOUNTED, LOOK,
         FIRST + "tmpfs /srv/m tmpfs size=1m 0 0\n/srv/m"),
    Case("unmounted through a link", {"path": "/srv/link", "state": "unmounted"}, MOUNTED + "ln -s m /srv/link",
         "findmnt -n /srv/m", ""),
    Case("unmounted already", {"path": "/srv/m", "state": "unmounted"}, CLEAN, changed=False),
    Case("gone altogether", {"path": "/srv/m", "state": "absent"}, MOUNTED, LOOK, FIRST),
    Case("gone, but what lay below stays", {"path": "/srv/m", "state": "absent"},
         CLEAN + "mkdir /srv/m; touch /srv/m/mine; echo 'tmpfs /srv/m tmpfs size=1m 0 0' >> /etc/fstab; mount /srv/m",
         "ls /srv/m; findmnt -n /srv/m", "mine", exact=False, warns="holds files of its own"),
    Case("gone is only what fstab knows", {"path": "/srv/m", "state": "absent"},
         CLEAN + "mkdir /srv/m; mount -t tmpfs tmpfs /srv/m", changed=False),
    Case("gone from fstab", {"path": "/srv/m/", "state": "absent_from_fstab", "backup": True}, MOUNTED,
         LOOK + "; cat /etc/fstab.*~ | tail -1", FIRST + "/srv/m / tmpfs\n/srv/m\ntmpfs /srv/m tmpfs size=1m 0 0"),
    Case("gone from fstab already", {"path": "/srv/m", "state": "absent_from_fstab"}, CLEAN, changed=False),
    Case("mounted again", {"path": "/srv/m", "state": "remounted"},
         MOUNTED + "sed -i s/size=1m/ro/ /etc/fstab", "findmnt -no OPTIONS /srv/m | cut -d, -f1", "ro", repeats=True),
    Case("mounted again with options", {"path": "/srv/m", "state": "remounted", "opts": "ro"}, MOUNTED,
         "tail -1 /etc/fstab; findmnt -no OPTIONS /srv/m | cut -d, -f1", "tmpfs /srv/m tmpfs size=1m 0 0\nro",
         repeats=True),
    Case("nothing to mount again", {"path": "/srv/m", "state": "remounted"}, CLEAN, fails="nothing is mounted"),
    Case("for now", {**TMPFS, "state": "ephemeral"}, CLEAN, LOOK, FIRST + "/srv/m / tmpfs\n/srv/m", repeats=True),
    Case("for now, in the place of another", {**TMPFS, "src": "other", "state": "ephemeral"}, MOUNTED, LOOK,
         fails="is mounted already, from tmpfs"),
    Case("swap has no place", {"path": "none", "src": "/srv/swap", "fstype": "swap", "opts": "sw", "state": "present"},
         CLEAN + "echo /srv/other none swap sw 0 0 >> /etc/fstab", "cat /etc/fstab",
         FIRST + "/srv/other none swap sw 0 0\n/srv/swap none swap sw 0 0"),
    Case("of two lines one is left", {**TMPFS, "state": "present"},
         CLEAN + "echo 'x /srv/m ext4' >> /etc/fstab; echo 'y /srv/m ext4' >> /etc/fstab; echo '# end' >> /etc/fstab",
         "cat /etc/fstab", FIRST + "tmpfs /srv/m tmpfs defaults 0 0\n# end"),
    Case("something is missing", {"path": "/srv/m", "state": "mounted"}, CLEAN, LOOK, fails="missing: src, fstype"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES, ids=str)
def test_mount(debian: LabHost, case: Case) -> None:
    prove(debian, "system.mount", case)
    debian.run(CLEAN)


@pytest.mark.lab
def test_a_file_system_in_a_file(bookworm: LabHost) -> None:
    """Its source is a loop device by then; that is known to be the file."""
    bookworm.run(
        CLEAN + "truncate -s 8M /srv/disk; mkfs.ext4 -q /srv/disk; test -e /dev/loop-control ||"
        "mknod /dev/loop-control c 10 237; for i in 0 1 2 3 4 5 6 7; do mknod /dev/loop$i b 7 $i; done 2>/dev/null; true"
    )
    if bookworm.run("losetup -f", check=False).returncode != 0:
        pytest.skip("this machine has no loop devices")
    params = {"path": "/srv/m", "src": "/srv/disk", "fstype": "ext4", "opts": "loop"}
    states = ("ephemeral", "mounted", "mounted", "absent")
    results = run_calls(bookworm, [Call("system.mount", {**params, "state": state}) for state in states])
    assert [result.get("msg") for result in results] == [None] * 4
    assert [result["changed"] for result in results] == [True, True, False, True]


@pytest.mark.lab
def test_what_is_busy_stays_mounted(bookworm: LabHost) -> None:
    bookworm.run(MOUNTED)
    bookworm.run("cd /srv/m; setsid sleep 60 </dev/null >/dev/null 2>&1 & echo $! > /run/busy")
    result = run_calls(bookworm, [Call("system.mount", {"path": "/srv/m", "state": "absent"})])[0]
    assert result["failed"] and "busy" in result["msg"]
    assert bookworm.run("tail -1 /etc/fstab").stdout == "tmpfs /srv/m tmpfs size=1m 0 0\n"
    bookworm.run("pkill -s $(cat /run/busy); sleep 0.1;" + CLEAN)


@pytest.mark.lab
def test_a_failed_mount_leaves_nothing(bookworm: LabHost) -> None:
    bookworm.run(CLEAN)
    params = {**TMPFS, "path": "/srv/new", "opts": "size=what,password=secret", "opts_no_log": True, "state": "mounted"}
    result = run_calls(bookworm, [Call("system.mount", params)])[0]
    assert result["failed"] and "cannot mount /srv/new" in result["msg"]
    assert "secret" not in str(result)
    assert bookworm.run("cat /etc/fstab").stdout == FIRST
    assert bookworm.run("ls /srv").stdout == "a\nb\n"


@pytest.mark.lab
def test_hidden_options_are_nowhere(bookworm: LabHost) -> None:
    bookworm.run(CLEAN)
    params = {**TMPFS, "opts": "size=1m,uid=4711", "opts_no_log": True, "state": "mounted"}
    result = run_calls(bookworm, [Call("system.mount", params)])[0]
    assert result["changed"] and result["opts"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    result.pop("_undo")  # what undo needs is kept encrypted, and is shown nowhere
    result.pop("_observed")  # nor is who owns what is mounted
    assert "4711" not in str(result)
    bookworm.run(CLEAN)


@pytest.mark.lab
def test_a_preview_sees_what_it_would_have_mounted(bookworm: LabHost) -> None:
    bookworm.run(CLEAN)
    results = previews(
        bookworm,
        [
            ("system.mount", {**TMPFS, "state": "mounted"}),
            ("system.mount", {**TMPFS, "state": "mounted"}),
            ("system.mount", {"path": "/srv/m", "state": "remounted"}),
            ("system.mount", {"path": "/srv/m", "state": "absent"}),
            ("system.mount", {"path": "/srv/m", "state": "unmounted"}),
            ("system.mount", {"path": "/srv/m", "state": "absent"}),
        ],
    )
    assert [result.get("msg") for result in results] == [None] * 6
    assert [result["changed"] for result in results] == [True, False, True, True, False, False]


def test_another_fstab(tmp_path: Path) -> None:
    line = "LABEL=root / ext4 defaults 0 1\n"
    case = harness.Case(
        "another fstab",
        {**TMPFS, "state": "present", "fstab": "@/fstab"},
        {"fstab": line},
        {"fstab": line + "tmpfs /srv/m tmpfs defaults 0 0\n"},
    )
    harness.play("system.mount", case, tmp_path)


@pytest.mark.parametrize("text", ["/a b", "a\\b", "tab\there", "plain", "\\040", "a\nb"])
def test_fields_come_back(text: str) -> None:
    assert " " not in escaped(text) and "\n" not in escaped(text)
    assert unescaped(escaped(text)) == text


def test_lines_that_are_no_entries() -> None:
    assert [Entry.parse(line) for line in ("", "# a b c", "only two")] == [None] * 3
    assert str(Entry.parse("a b c")) == "a b c defaults 0 0"


def test_sources_that_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert device(str(tmp_path / "link")) == device(str(tmp_path))
    assert is_from(Mount("server:/share", "/mnt", "nfs4"), "server:/share/")
    assert not is_from(Mount("//server/a", "/mnt", "cifs"), "//server/b")
