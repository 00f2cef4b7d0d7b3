"""A way back from a change that may cut access: armed before it, removed by the proof of a new connection.

It is a program and two units on disk: one runs it when its time is over, the other when the host starts anew, so that
neither a control side that died nor a restart leaves a host that nobody can reach. Whoever renames `armed` first, a
unit or the proof, has decided; the other finds it gone.

    /var/lib/opsplay/way-back/NAME/     0700
        armed | restoring | restored | proven      how far it is: an empty file
        boot          the start of the host that the change was made in
        restore       the program
        files/N       what was at each path
    /etc/systemd/system/opsplay-way-back-NAME.timer, .service, and -boot.service
"""

from __future__ import annotations

import os
import stat as stat_bits
from typing import Any, Dict, List, Optional, Sequence

from opsplay.agent import files
from opsplay.agent.process import Completed

FOLDER = "/var/lib/opsplay/way-back"
UNITS = "/etc/systemd/system"
WANTED = UNITS + "/sysinit.target.wants"
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# What may start with what was replaced: it has to wait until that is back.
GUARDED = "network-pre.target ufw.service nftables.service netfilter-persistent.service ssh.service ssh.socket"

SERVICE = """\
# Made by opsplay before a change of access; gone as soon as a new connection has proven the change.
[Unit]
Description=opsplay: put back what a change of access replaced ({name})

[Service]
Type=oneshot
ExecStart=/bin/sh {folder}/restore
TimeoutStartSec=120
"""

# Services that read what was replaced start after it. The other unit must not be ordered like this: it reloads them.
BOOT = """\
# Made by opsplay before a change of access; gone as soon as a new connection has proven the change.
[Unit]
Description=opsplay: put back what a change of access replaced, before it takes effect ({name})
DefaultDependencies=no
RequiresMountsFor={folder}
After=systemd-remount-fs.service
Before={guarded} shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh {folder}/restore
TimeoutStartSec=120

[Install]
WantedBy=sysinit.target
"""

TIMER = """\
[Unit]
Description=opsplay: the time within which a change of access has to be proven ({name})

[Timer]
OnActiveSec={seconds}
AccuracySec=100ms
"""

# Each step may fail without the others being left out. What was armed in an earlier start of the host needs no
# commands: services start after this, with what is back.
RESTORE = """\
#!/bin/sh
cd {folder} || exit 0
mv armed restoring 2>/dev/null || [ -e restoring ] || exit 0
{restore}
if [ "$(cat boot)" = "$(cat {boot_id})" ]; then
{commands}
fi
date --iso-8601=seconds > restoring
mv restoring restored
rm -rf files
rm -f {units}/{unit}.service {units}/{unit}.timer {units}/{unit}-boot.service {wanted}/{unit}-boot.service
systemctl --no-block daemon-reload
"""


class WayBack:
    """The way back of one change: `with WayBack(host, "ufw", 60, paths, commands): change`.

    `paths` are files that the change may touch; `commands` make the programs that read them take them up again. When
    the change itself fails, the way back is taken at once; else it stays armed for `seconds`. A preview arms nothing.
    """

    def __init__(
        self, host: Any, name: str, seconds: int, paths: Sequence[str], commands: Sequence[Sequence[str]]
    ) -> None:
        self.host = host
        self.name = name
        self.seconds = seconds
        self.paths = list(paths)
        self.commands = [list(command) for command in commands]
        self.folder = os.path.join(FOLDER, name)
        self.unit = unit_of(name)

    def __enter__(self) -> WayBack:
        if self.host.check:
            return self
        if not os.path.isdir("/run/systemd/system"):
            self.host.fail(
                "the way back from this change needs systemd, which does not run here; set confirm_within: 0 to "
                "change access without one"
            )
        self._refuse_other()
        forget(self.host, self.name)
        self._save()
        self._install()
        return self

    def __exit__(self, kind: Any, problem: Any, trace: Any) -> None:
        if kind is not None and not self.host.check:
            take(self.host, self.name)

    def told(self) -> Optional[Dict[str, Any]]:
        """What the control side has to know to prove the change; None in a preview."""
        return None if self.host.check else {"name": self.name, "seconds": self.seconds}

    def end(self) -> None:
        """The change can cut nothing after all: the way back goes unproven."""
        if not self.host.check:
            prove(self.host, self.name)

    def _refuse_other(self) -> None:
        """Another run's change that still waits for its proof must not be lost under this one."""
        if state_of(self.name) in ("armed", "restoring"):
            self.host.fail(
                "a change of %s still waits for its proof on this host, made by another run; it goes back by itself "
                "within its time: wait for that, or look at %s" % (self.name, self.folder)
            )

    def _save(self) -> None:
        """Keep what is there, synced, before anything of it changes."""
        kept = os.path.join(self.folder, "files")
        os.makedirs(kept, 0o700, exist_ok=True)
        os.chmod(self.folder, 0o700)
        restore = []
        for number, path in enumerate(self.paths):
            restore.append(self._keep(path, os.path.join(kept, str(number))))
        text = RESTORE.format(
            folder=self.folder, boot_id=BOOT_ID, units=UNITS, wanted=WANTED, unit=self.unit,
            restore="\n".join(restore),
            commands="\n".join(quoted(["timeout", "60"] + command) for command in self.commands) or ":",
        )  # fmt: skip
        self._write(os.path.join(self.folder, "boot"), boot_id())
        self._write(os.path.join(self.folder, "restore"), text)
        self._write(os.path.join(self.folder, "armed"), "")
        files.sync_directory(kept)

    def _keep(self, path: str, copy: str) -> str:
        """Copy one path with its owner and mode. Returns the lines that put it back."""
        beside = path + ".opsplay-way-back"
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return quoted(["rm", "-f", "--", path])
        if stat_bits.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(path), copy)
        elif stat_bits.S_ISREG(found.st_mode):
            files.replace(
                self.host.temporary, copy, files.read_chunks(path), stat_bits.S_IMODE(found.st_mode),
                (found.st_uid, found.st_gid),
            )  # fmt: skip
        else:
            self.host.fail("%s is neither a file nor a link: it cannot be kept for the way back" % path)
        back = quoted(["cp", "-a", "--remove-destination", "--", copy, beside])
        return "%s && %s" % (back, quoted(["mv", "-fT", "--", beside, path]))

    def _install(self) -> None:
        """The unit that the next start of the host runs; and the other with its timer, for this one."""
        values = {"name": self.name, "folder": self.folder, "guarded": GUARDED, "seconds": self.seconds}
        self._write("%s/%s.service" % (UNITS, self.unit), SERVICE.format(**values), 0o644)
        self._write("%s/%s-boot.service" % (UNITS, self.unit), BOOT.format(**values), 0o644)
        self._write("%s/%s.timer" % (UNITS, self.unit), TIMER.format(**values), 0o644)
        os.makedirs(WANTED, 0o755, exist_ok=True)
        files.place(
            self.host.temporary, "%s/%s-boot.service" % (WANTED, self.unit),
            lambda beside: os.symlink("%s/%s-boot.service" % (UNITS, self.unit), beside),
        )  # fmt: skip
        for argv in (["systemctl", "daemon-reload"], ["systemctl", "start", self.unit + ".timer"]):
            done = self.host.query(argv, timeout=60)
            if done.rc != 0:
                forget(self.host, self.name)
                self.host.fail("the way back could not be armed, so nothing was changed: %s" % said(done))

    def _write(self, path: str, text: str, mode: int = 0o600) -> None:
        files.replace(self.host.temporary, path, [text.encode()], mode, (0, 0))


class NoWayBack:
    """Stands where the user wants none: nothing is armed, and nothing has to be proven."""

    def __enter__(self) -> NoWayBack:
        return self

    def __exit__(self, *problem: Any) -> None: ...

    def told(self) -> None:
        return None

    def end(self) -> None:
        return None


def way_back(host: Any, name: str, seconds: int, paths: Sequence[str], commands: Sequence[Sequence[str]]) -> Any:
    """The way back of a change, for so many seconds; without any of them, none."""
    return WayBack(host, name, seconds, paths, commands) if seconds else NoWayBack()


def prove(host: Any, name: str) -> bool:
    """The change is proven: its way back goes. False when it has been taken already."""
    folder = os.path.join(FOLDER, name)
    try:
        os.rename(os.path.join(folder, "armed"), os.path.join(folder, "proven"))
    except FileNotFoundError:
        return False
    forget(host, name)
    return True


def take(host: Any, name: str) -> bool:
    """Go back now. Returns whether all is as it was."""
    if state_of(name) in ("armed", "restoring"):
        host.query(["/bin/sh", os.path.join(FOLDER, name, "restore")], timeout=120)
        host.query(["systemctl", "stop", unit_of(name) + ".timer"], timeout=60)
    return state_of(name) == "restored"


def forget(host: Any, name: str) -> None:
    """Remove all that belongs to a way back that nobody needs any more."""
    unit = unit_of(name)
    paths = ["%s/%s%s" % (UNITS, unit, kind) for kind in (".timer", ".service", "-boot.service")]
    paths.append("%s/%s-boot.service" % (WANTED, unit))
    found = [path for path in paths if os.path.lexists(path)]
    if found:
        host.query(["systemctl", "stop", unit + ".timer"], timeout=60)
        for path in found:
            os.unlink(path)
        host.query(["systemctl", "daemon-reload"], timeout=60)
    folder = os.path.join(FOLDER, name)
    if os.path.isdir(folder):
        files.remove_tree(folder)


def state_of(name: str) -> str:
    """armed, restoring, restored or proven; empty when there is no way back of this name."""
    for state in ("armed", "restoring", "restored", "proven"):
        if os.path.exists(os.path.join(FOLDER, name, state)):
            return state
    return ""


def unit_of(name: str) -> str:
    return "opsplay-way-back-" + name


def boot_id() -> str:
    with open(BOOT_ID) as file:
        return file.read()


def said(done: Completed) -> str:
    """A failed program's own words in a line."""
    return done.stderr.strip() or done.stdout.strip() or done.error or "exit code %d" % done.rc


def quoted(argv: List[str]) -> str:
    """A line for the shell."""
    import shlex

    return " ".join(shlex.quote(word) for word in argv)
