"""apt-get, run so that nobody is asked, locks are waited for, and what dpkg has begun is ended."""

from __future__ import annotations

import os
import time
from typing import Any, List, Optional

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.spec import Params
from opsplay.modules.packages import _locks, _plan
from opsplay.modules.packages._plan import Plan

# An interruption waits this long (s) for dpkg to end what it has begun.
DPKG_SECONDS = 900
POLICY = "/usr/sbin/policy-rc.d"
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    # List what would have to be restarted, and restart nothing: that is the playbook's decision.
    "NEEDRESTART_MODE": "l",
    # English messages, and UTF-8 all the same: PostgreSQL's package makes its cluster in the locale of this run.
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "C",
}


class AptGet:
    """apt-get with the flags that a task's parameters ask for."""

    def __init__(self, host: Host, params: Params) -> None:
        self.host = host
        self.params = params
        self.output = ""
        self.errors = ""
        program = host.which("apt-get")
        if program is None:
            host.fail("apt-get is not on this host; the apt module is for Debian and what descends from it")
        self.program = program

    def flags(self) -> List[str]:
        """Flags for whatever changes packages."""
        params = self.params
        # Names are names: without this one that is unknown would be taken as a regular expression.
        flags = ["-y", "-q", "-o", "APT::Cmd::Pattern-Only=true"]
        for option in (params.dpkg_options or "").split(","):
            if option.strip():
                flags += ["-o", "Dpkg::Options::=--" + option.strip().lstrip("-")]
        if params.default_release:
            flags += ["-t", params.default_release]
        if params.install_recommends is not None:
            flags += ["-o", "APT::Install-Recommends=%s" % ("yes" if params.install_recommends else "no")]
        wished = (
            (params.allow_unauthenticated or params.force, "--allow-unauthenticated"),
            (params.allow_downgrade or params.force, "--allow-downgrades"),
            (params.allow_change_held_packages or params.force, "--allow-change-held-packages"),
            (params.force, "--allow-remove-essential"),
            (params.only_upgrade, "--only-upgrade"),
            (params.fail_on_autoremove and params.state != "absent", "--no-remove"),
            (params.purge, "--purge"),
            (params.autoremove, "--auto-remove"),
        )
        return flags + [flag for wish, flag in wished if wish]

    def plan(self, words: List[str]) -> Plan:
        """What apt-get would do. Fails with its own words and the remedy."""
        done = self._simulate(words)
        unknown: List[str] = []
        while done.rc != 0 and self._may_become_known():
            # The preview has not fetched the lists that will know them.
            strange = [word for word in words if plain_name(word) in _plan.unknown_names(done.stderr)]
            if not strange:
                break
            unknown += strange
            words = [word for word in words if word not in strange]
            done = self._simulate(words)
        if done.rc != 0:
            self.fail("apt-get cannot do that", done)
        plan = _plan.parse(done.stdout)
        plan.unknown = unknown
        plan.steps += [_plan.Step(plain_name(word), "", "(unknown)") for word in unknown]
        return plan

    def _simulate(self, words: List[str]) -> Any:
        return self.host.query([self.program, "--simulate"] + self.flags() + words, env=ENVIRONMENT)

    def _may_become_known(self) -> bool:
        shadow = self.host.shadow
        return self.host.check and (shadow.renewed_package_lists or shadow.ran_programs)

    def apply(self, plan: Plan, words: List[str]) -> None:
        """Do what was planned: fetch first, which may be interrupted, then let dpkg work, which may not."""
        plan.note(self.host)
        if self.host.check:
            self.output = plan.output
            return
        argv = [self.program] + self.flags()
        if plan.fetched():
            self._locked(argv + ["--download-only"] + words, "fetching", len(plan.fetched()))
        with self.host.critical(DPKG_SECONDS):
            done = self._locked(argv + words, "changing packages", len(plan.steps) + len(plan.fetched()))
        self.output, self.errors = done.stdout, done.stderr

    def change(self, words: List[str]) -> Any:
        """Run a command of apt-get that touches no installed package, such as clean."""
        done = self.host.run([self.program, "-y", "-q"] + words, foreseen=True, env=ENVIRONMENT)
        if done.rc != 0:
            self.fail("apt-get %s failed" % words[0], done)
        self.output, self.errors = done.stdout, done.stderr
        return done

    def _locked(self, argv: List[str], doing: str, total: int) -> Any:
        """Run when the locks are free. Another program may be quicker to take them: then wait again."""
        deadline = time.monotonic() + self.params.lock_timeout
        # dpkg's own locks are waited for by apt-get too, which closes most of the gap.
        options = ["Dpkg::Use-Pty=0", "DPkg::Lock::Timeout=%d" % self.params.lock_timeout]
        argv = argv[:1] + [word for option in options for word in ("-o", option)] + argv[1:]
        while True:
            _locks.wait(self.host, _locks.INSTALLING, deadline, self.params.lock_timeout)
            with Policy(self.host, self.params.policy_rc_d):
                done = self.host.query(argv, env=ENVIRONMENT, watch=Progress(self.host, total).feed)
            if done.rc == 0:
                return done
            if "Could not get lock" not in done.stderr or time.monotonic() >= deadline:
                self.fail("apt-get failed while %s" % doing, done)

    def fail(self, what: str, done: Any) -> None:
        """End the task with apt-get's errors and what to do about them."""
        errors = [line[3:] for line in done.stderr.split("\n") if line.startswith("E: ")]
        said = "; ".join(errors) or done.stderr.strip() or done.error or "exit code %d" % done.rc
        if done.rc == 100 and not errors:
            said = (done.stdout.strip() or said)[-2000:]
        remedy = remedy_for(done.stderr)
        self.host.fail("%s: %s%s" % (what, said, remedy), rc=done.rc, stdout=done.stdout, stderr=done.stderr)


class Progress:
    """What apt-get and dpkg say while they work, as the task's progress: one step for each package and stage."""

    STAGES = (b"Get:", b"Unpacking ", b"Setting up ", b"Removing ", b"Purging configuration files for ")

    def __init__(self, host: Host, total: int) -> None:
        self.host = host
        self.done = 0
        self.total = total
        self.rest = b""

    def feed(self, data: bytes) -> None:
        """Take a piece of output."""
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()[-4096:]
        for line in lines:
            if line.startswith(self.STAGES):
                self.done = min(self.done + 1, self.total)
                self.host.progress(line.decode("utf-8", "replace").strip(), self.done, self.total)


class Policy:
    """policy-rc.d, which says whether packages may start services, forced to one answer while apt-get runs."""

    def __init__(self, host: Host, answer: Optional[int]) -> None:
        self.host = host
        self.answer = answer
        self.before: Any = None

    def __enter__(self) -> None:
        if self.answer is None:
            return
        found = self.host.stat(POLICY)
        if found is not None:
            self.before = (files.read_whole(POLICY), found.st_mode & 0o7777, (found.st_uid, found.st_gid))
        script = b"#!/bin/sh\nexit %d\n" % self.answer
        files.replace(self.host.temporary, POLICY, [script], 0o755, (os.geteuid(), os.getegid()))

    def __exit__(self, *exc: Any) -> None:
        if self.answer is None:
            return
        if self.before is None:
            os.unlink(POLICY)
        else:
            content, mode, owner = self.before
            files.replace(self.host.temporary, POLICY, [content], mode, owner)


def plain_name(word: str) -> str:
    """The package's name in a word for apt-get."""
    return word.partition("=")[0].partition("/")[0]


def remedy_for(errors: str) -> str:
    """What to do about an error, when it is one of the common ones."""
    remedies = (
        ("Unable to locate package", "check the spelling, or fetch the package lists with update_cache: true"),
        ("no installation candidate", "name the package that provides it, or set update_cache: true"),
        ("was not found", "`apt-cache madison NAME` lists the versions that there are"),
        ("dpkg was interrupted", "state: fixed ends what was begun"),
        ("allow-downgrades", "set allow_downgrade: true if that is meant"),
        ("allow-change-held-packages", "set allow_change_held_packages: true if that is meant"),
        ("allow-unauthenticated", "install the repository's key, or set allow_unauthenticated: true"),
        ("Packages need to be removed", "fail_on_autoremove does not let packages go"),
        ("unmet dependencies", "state: fixed corrects them"),
        ("Unable to fetch some archives", "fetch the package lists with update_cache: true"),
        ("deb-src", "add the repository's sources (deb-src) first"),
    )
    for sign, remedy in remedies:
        if sign in errors:
            return "; " + remedy
    return ""
