"""Mount file systems and unmount them, now and, through /etc/fstab, at boot."""

from __future__ import annotations

import os
from typing import Any, Dict, List, NoReturn, Optional

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Bool, Choice, Params, Path, Str
from opsplay.modules.system._mounts import Entry, Fstab, Mount, is_from, mounted, pretend_mounted

FSTAB = "/etc/fstab"
PARAMS = {
    "path": Path(required=True, aliases=("name",), help="The mount point; none for swap"),
    "src": Path(help="What is mounted: a device, LABEL=, UUID=, a share, a folder for bind"),
    "fstype": Str(help="The type of the file system; none for bind"),
    "opts": Str(help="The mount options; without them defaults"),
    "dump": Str(default="0", help="The fifth field of fstab(5)"),
    "passno": Str(default="0", help="The sixth field of fstab(5): the order of checks at boot, 0 for none"),
    "state": Choice(
        "absent", "absent_from_fstab", "mounted", "present", "unmounted", "remounted", "ephemeral", required=True,
        help="mounted: now and in fstab; present: in fstab; unmounted: not now; ephemeral: now, fstab left alone; "
             "remounted: mounted again; absent: neither, and the mount point goes; absent_from_fstab: just not there",
    ),
    "fstab": Path(default=FSTAB, help="The file to use instead of /etc/fstab"),
    "boot": Bool(default=True, help="Mount at boot; without it noauto joins the options in fstab"),
    "backup": Bool(default=False, help="Keep a dated copy of fstab as it was"),
    "opts_no_log": Bool(default=False, help="Show the options, and what changes in fstab, nowhere"),
}  # fmt: skip
CHECK = "exact"
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.state in ("present", "mounted", "ephemeral"):
        missing = [name for name in ("src", "fstype") if params[name] is None]
        if missing:
            host.fail("state is %s but all of the following are missing: %s" % (params.state, ", ".join(missing)))
    if params.opts_no_log:
        host.want_diff = False
    task = Task(host, params)
    getattr(task, params.state)()
    entry = task.entry
    result = {"name": entry.path, "dump": entry.dump, "passno": entry.check, "fstab": params.fstab}
    result.update({key: params[key] for key in ("src", "fstype") if params[key] is not None})
    result["opts"] = HIDDEN if params.opts_no_log and params.opts else entry.options
    return host.outcome(boot="yes" if params.boot else "no", backup_file=host.backup_file, **result)


class Task:
    """One method for each state."""

    def __init__(self, host: Host, params: Params) -> None:
        self.host = host
        self.params = params
        path = params.path if params.path in ("none", "swap") else host.expand(params.path)
        options = params.opts or "defaults"
        if not params.boot and "noauto" not in options.split(","):
            options += ",noauto"
        self.entry = Entry(params.src or "", path, params.fstype or "", options, params.dump, params.passno)
        self.path = path

    def present(self) -> None:
        self._put(Fstab(self.host, self.params.fstab))

    def absent_from_fstab(self) -> None:
        self._drop(Fstab(self.host, self.params.fstab))

    def mounted(self) -> None:
        """Mounted first and written down after that: an fstab that does not work is never left for the next boot."""
        fstab = Fstab(self.host, self.params.fstab)
        known = fstab.find(self.entry)
        there = mounted(self.host, self.path)
        if there is None:
            self._mount()
        elif self._is_other(there, known):
            self._refuse_missing_source()
            self._unmount()
            self._mount()
        elif known is None or known.options != self.entry.options:
            self._remount(self.entry.options)
        self._put(fstab)

    def ephemeral(self) -> None:
        there = mounted(self.host, self.path)
        if there is None:
            self._mount()
        elif is_from(there, self.entry.source):
            self._remount(self.params.opts or "defaults")
        else:
            hint = "use another path, or unmount it first (state: unmounted)"
            self._fail("%s is mounted already, from %s; %s" % (self.path, there.source, hint))

    def unmounted(self) -> None:
        if mounted(self.host, self.path):
            self._unmount()

    def remounted(self) -> None:
        """With the options given; else as fstab says, and when that cannot be done in place, unmounted and mounted."""
        if mounted(self.host, self.path) is None:
            self._fail("nothing is mounted at %s; mount it with state: mounted" % self.path)
        if self.params.opts:
            self._remount(self.params.opts)
            return
        from_fstab = ["mount", "-T", self.params.fstab]
        self._note("mounted\n", "mounted again\n")
        if self._run(from_fstab + ["-o", "remount", self.path]).rc != 0:
            self._unmount()
            self._must_run(from_fstab + [self.path], "cannot mount %s" % self.path)

    def absent(self) -> None:
        """Only what fstab knows: then it is unmounted, and its mount point removed unless files lie in it."""
        fstab = Fstab(self.host, self.params.fstab)
        if fstab.find(self.entry) is None:
            return
        covered = mounted(self.host, self.path) is not None
        if covered:
            self._unmount()
        if mounted(self.host, self.path):
            self._fail("more than one file system is mounted at %s; unmount them first" % self.path)
        self._drop(fstab)
        if self.path.startswith("/") and self.host.is_directory(self.path):
            self._remove_folder(covered)

    # --- steps ---

    def _put(self, fstab: Fstab) -> None:
        if fstab.put(self.entry, self.params.backup):
            self._tell_systemd(fstab)

    def _drop(self, fstab: Fstab) -> None:
        if fstab.drop(self.entry, self.params.backup):
            self._tell_systemd(fstab)

    def _tell_systemd(self, fstab: Fstab) -> None:
        """systemd has made units of fstab at boot, and would go on with those."""
        if fstab.path == FSTAB and os.path.isdir("/run/systemd/system"):
            self._must_run(["systemctl", "daemon-reload"], "cannot let systemd read %s" % FSTAB)

    def _is_other(self, there: Mount, known: Optional[Entry]) -> bool:
        """Whether something else is mounted. Where fstab has the source already, that is believed to be what it is."""
        if known is not None and known.source == self.entry.source:
            return known.kind != self.entry.kind
        return not is_from(there, self.entry.source)

    def _mount(self) -> None:
        self._refuse_missing_source()
        self._note("not mounted\n", "%s\n" % self.entry.source)
        new = not self.host.exists(self.path)
        if new:
            self.host.directory(self.path)
        options = ["-o", self.entry.options] if self.entry.options != "defaults" else []
        done = self._run(["mount", "-t", self.entry.kind] + options + ["--", self.entry.source, self.path])
        if done.rc != 0:
            if new:
                self.host.query(["rmdir", "--", self.path])
            self._fail("cannot mount %s: %s" % (self.path, self._said(done)), rc=done.rc)
        pretend_mounted(self.host, self.path, self.entry)

    def _refuse_missing_source(self) -> None:
        """A device or folder that is not there; a preview may have a task before that brings it."""
        source = self.entry.source
        if not source.startswith("/") or source.startswith("//") or self.host.exists(source):
            return
        if not (self.host.check and self.host.shadow.brings_unknown_files):
            self._fail("cannot mount %s: there is no %s on this host" % (self.path, source))

    def _unmount(self) -> None:
        self._note("mounted\n", "not mounted\n")
        self._must_run(["umount", "--", self.path], "cannot unmount %s" % self.path)
        pretend_mounted(self.host, self.path, None)

    def _remount(self, options: str) -> None:
        self._note("mounted\n", "mounted again\n")
        # With the source named, mount(8) takes these options alone, and adds none of fstab's or of those in force.
        place = ["--source", self.entry.source, "--target", self.path] if self.entry.source else ["--", self.path]
        self._must_run(["mount", "-o", "remount," + options] + place, "cannot remount %s" % self.path)

    def _remove_folder(self, covered: bool) -> None:
        """With rmdir, which never takes anything along that was hidden below the mount."""
        # A preview cannot look below what is mounted; it takes the folder to be empty.
        if not (self.host.check and covered) and self.host.names(self.path):
            self.host.warn("%s holds files of its own, and stays" % self.path)
            return
        self.host.note("directory\n", "", self.path)
        self._must_run(["rmdir", "--", self.path], "cannot remove %s" % self.path)
        if self.host.check:
            self.host.pretend(self.path, Node("absent"))

    def _note(self, before: str, after: str) -> None:
        self.host.note(before, after, "mount " + self.path)

    def _run(self, argv: List[str]) -> Any:
        return self.host.run(argv, foreseen=True, env={"LC_ALL": "C"})

    def _must_run(self, argv: List[str], problem: str) -> None:
        done = self._run(argv)
        if done.rc != 0:
            self._fail("%s: %s" % (problem, self._said(done)), rc=done.rc)

    def _said(self, done: Any) -> str:
        """A program's own words, without options that are not to be seen."""
        said = str(done.stderr.strip() or done.error or "exit code %d" % done.rc)
        return said.replace(self.params.opts, HIDDEN) if self.params.opts_no_log and self.params.opts else said

    def _fail(self, message: str, **data: Any) -> NoReturn:
        self.host.fail(message, name=self.path, **data)
