"""Running git so that it asks nobody, and what it says of a repository and of a remote one."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Params

HEX = frozenset("0123456789abcdefABCDEF")
SHORTEST_COMMIT = 7


class Target:
    """What a version means in the remote repository: a branch, a tag or a commit, by its name and its commit."""

    __slots__ = ("kind", "name", "commit")

    def __init__(self, kind: str, name: str, commit: str) -> None:
        self.kind = kind
        self.name = name
        self.commit = commit

    def is_at(self, commit: Optional[str]) -> bool:
        """Whether this is the commit; a commit may be given by its first digits."""
        return commit is not None and commit.startswith(self.commit.lower())


class Git:
    """git in one work tree, with the environment that a task's parameters ask for."""

    def __init__(self, host: Host, params: Params, dest: str) -> None:
        self.host = host
        self.dest = dest
        program = host.which(host.expand(params.executable) if params.executable else "git")
        if program is None:
            host.fail("there is no %s on this host; install the package git first" % (params.executable or "git"))
        self.program = program
        self.env = {
            "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": ssh_command(host, params),
            # What only looks leaves the index as it is.
            "GIT_OPTIONAL_LOCKS": "0",
        }  # fmt: skip

    def query(self, *words: str, **options: Any) -> Any:
        """Run git in the work tree."""
        options.setdefault("cwd", self.dest)
        return self.host.query([self.program] + list(words), env=self.env, **options)

    def must(self, what: str, *words: str, **options: Any) -> str:
        """Run git, and fail the task with git's own words when it does not end with 0. Returns its output."""
        done = self.query(*words, **options)
        if done.rc != 0:
            said = done.stderr.strip() or done.stdout.strip() or done.error
            self.host.fail("%s: %s" % (what, said), rc=done.rc, stdout=done.stdout, stderr=done.stderr)
        return str(done.stdout)

    def commit(self, name: str) -> Optional[str]:
        """The commit of a name in this repository; None when there is none."""
        done = self.query("rev-parse", "--verify", "--quiet", name + "^{commit}")
        return done.stdout.strip() if done.rc == 0 else None

    def branch(self) -> str:
        """The branch that is checked out; empty when it is a commit."""
        return str(self.query("symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip())

    def modifications(self) -> bool:
        """Whether a tracked file is not as it was checked out."""
        text = self.must("cannot read %s" % self.dest, "status", "--porcelain", "--untracked-files=no")
        return bool(text.strip())

    def target(self, repo: str, version: str, has_refspec: bool) -> Target:
        """What a version is in the remote repository. Fails when it is nothing there."""
        names = ["HEAD", "refs/heads/" + version, "refs/tags/" + version, "refs/tags/%s^{}" % version]
        text = self.must("cannot read %s" % repo, "ls-remote", "--symref", "--", repo, *names, cwd="/")
        refs: Dict[str, str] = {}
        default = ""
        for line in text.split("\n"):
            value, _, name = line.partition("\t")
            if value.startswith("ref: "):
                default = value[len("ref: refs/heads/") :]
            elif name:
                refs[name] = value
        if version == "HEAD" and "HEAD" in refs:
            return Target("branch" if default else "commit", default, refs["HEAD"])
        if "refs/heads/" + version in refs:
            return Target("branch", version, refs["refs/heads/" + version])
        for name in ("refs/tags/%s^{}" % version, "refs/tags/" + version):
            if name in refs:
                return Target("tag", version, refs[name])
        if has_refspec or (len(version) >= SHORTEST_COMMIT and not set(version) - HEX):
            return Target("commit", version, version)
        return self.host.fail("%s has no branch and no tag %s; check version" % (repo, version))


def ssh_command(host: Host, params: Params) -> str:
    """How git calls ssh: it may never ask, and takes the key and the host keys that the task says."""
    options: List[str] = ["-o", "BatchMode=yes"]
    if params.key_file:
        options += ["-i", host.expand(params.key_file), "-o", "IdentitiesOnly=yes"]
    if params.accept_hostkey:
        options += ["-o", "StrictHostKeyChecking=no"]
    elif params.accept_newhostkey:
        options += ["-o", "StrictHostKeyChecking=accept-new"]
    command = [os.environ.get("GIT_SSH_COMMAND") or "ssh"] + [quoted(word) for word in options]
    return " ".join(command + [params.ssh_opts or ""]).strip()


def quoted(word: str) -> str:
    """A word for the shell; shlex would import re."""
    return "'%s'" % word.replace("'", "'\\''")
