"""Keep a checkout of a git repository at a branch, a tag or a commit."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Bool, Int, Params, Path, Raw, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.vcs import _archive, _signature
from opsplay.modules.vcs._git import Git, Target

PARAMS = {
    "repo": Str(required=True, aliases=("name",), help="The repository's address"),
    "dest": Path(help="The directory of the checkout; needed unless clone is false"),
    "version": Str(default="HEAD", help="A branch, a tag, a commit; HEAD for the repository's default branch"),
    "remote": Str(default="origin", help="What the checkout calls the repository"),
    "refspec": Str(help="Further references to fetch, e.g. +refs/pull/*:refs/heads/*"),
    "clone": Bool(default=True, help="Make the checkout where it is not there"),
    "update": Bool(default=True, help="Bring a checkout that is there up to date"),
    "force": Bool(default=False, help="Throw away what was modified in tracked files"),
    "depth": Int(help="Fetch only so many commits; less than 1 for all"),
    "single_branch": Bool(default=False, help="Fetch only the branch or tag of version"),
    "bare": Bool(default=False, help="Keep the repository alone, without files checked out"),
    "reference": Str(help="A repository on the host to take objects from"),
    "separate_git_dir": Path(help="Where the repository itself is kept, apart from the files"),
    "recursive": Bool(default=True, help="Check out submodules, too"),
    "track_submodules": Bool(default=False, help="Follow the submodules' own branches"),
    "verify_commit": Bool(default=False, help="Check out only what is signed by a key of the keyring"),
    "gpg_allowlist": ListOf(
        of=Str(), default=[], aliases=("gpg_whitelist",), help="The fingerprints that may have signed it"
    ),
    "archive": Path(help="An archive of the checkout to make: .zip, .tar, .tar.gz or .tgz"),
    "archive_prefix": Str(help="What precedes each path in the archive"),
    "key_file": Path(help="The private key for ssh"),
    "ssh_opts": Str(help="Further options for ssh"),
    "accept_hostkey": Bool(default=False, help="Believe any host key"),
    "accept_newhostkey": Bool(default=False, help="Believe the key of a host that is not known yet"),
    "executable": Path(help="The git to use"),
    "umask": Raw(help="The umask for new files, as octal digits"),
}
CHECK = "partial"
SUBMODULES = ".gitmodules"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if params.dest is None and params.clone:
        host.fail("the destination directory must be specified unless clone=no")
    if params.bare and params.separate_git_dir:
        host.fail("bare and separate_git_dir cannot be given together: a bare repository has no files apart")
    if params.archive_prefix is not None and not params.archive:
        host.fail("archive_prefix is missing its archive: give both")
    for name in ("version", "remote"):
        if params[name].startswith("-"):
            host.fail("%s cannot begin with a dash: %s" % (name, params[name]))
    if host.check and host.shadow.brings_unknown_files and not host.which(params.executable or "git"):
        return without_git(host, params)
    before = os.umask(umask_of(host, params.umask)) if params.umask is not None else None
    try:
        return Task(host, params).run()
    finally:
        if before is not None:
            os.umask(before)


def without_git(host: Host, params: Params) -> Dict[str, Any]:
    """The preview on a host that an earlier task would bring git to: no commit can be known."""
    host.warn("git is not on this host yet: which commit of %s there will be is not known" % params.repo)
    host.note("", params.repo + "\n", params.dest or params.repo)
    if params.dest:
        pretend_checkout(host, host.expand(params.dest))
    return host.outcome(before=None, after=None, remote_url_changed=False)


def pretend_checkout(host: Host, dest: str) -> None:
    """In a preview: what the checkout would hold is not known, so later tasks find what they look for in it."""
    host.pretend(dest, Node("directory", 0o755))
    host.shadow.ran_programs = True


def umask_of(host: Host, value: Any) -> int:
    """YAML makes an integer of 0022, and leaves "0022" as digits."""
    try:
        return value if isinstance(value, int) else int(str(value), 8)
    except ValueError:
        host.fail("umask must be octal digits, as in \"0022\", not %s" % value)


class Task:
    """One run of the module."""

    def __init__(self, host: Host, params: Params) -> None:
        self.host = host
        self.params = params
        self.dest = host.expand(params.dest) if params.dest else ""
        self.git = Git(host, params, self.dest)
        self.git_dir = self.dest if params.bare else os.path.join(self.dest, ".git")
        self.repo = self.local(params.repo)
        self.result: Dict[str, Any] = {"before": None, "after": None, "remote_url_changed": False}

    def local(self, repo: str) -> str:
        """A repository that is a path of this host, made absolute; others as they are."""
        return self.host.expand(repo) if repo.startswith(("/", "~")) else repo

    def is_same(self, repo: str) -> bool:
        """Whether an address is that of the repository; a path and its file:// are the same."""
        return repo.replace("file://", "", 1) == self.repo.replace("file://", "", 1)

    def run(self) -> Dict[str, Any]:
        if not self.is_there():
            return self.clone()
        if self.params.separate_git_dir:
            self.move()
        self.result["before"] = self.result["after"] = self.git.commit(self.head())
        if self.params["update"]:
            self.update()
        return self.outcome()

    def is_there(self) -> bool:
        if not self.dest or not os.path.exists(self.git_dir):
            return False
        return not self.params.bare or os.path.isfile(os.path.join(self.dest, "HEAD"))

    def head(self) -> str:
        """What the result's commits are of: what is checked out, or in a bare repository the version itself."""
        return self.params.version if self.params.bare else "HEAD"

    def outcome(self) -> Dict[str, Any]:
        result = self.result
        if self.params.archive and self.dest:
            _archive.make(self.host, self.git, self.params, result["after"])
        return self.host.outcome(**result)

    def note(self, before: Optional[str], after: Optional[str]) -> None:
        """Record that the checkout goes from one commit to another."""
        said = ["%s\n" % commit if commit else "" for commit in (before, after)]
        self.host.note(said[0], said[1], self.dest or self.repo)

    # --- a new checkout ---

    def clone(self) -> Dict[str, Any]:
        host, params = self.host, self.params
        target = self.git.target(self.repo, params.version, bool(params.refspec))
        self.result["after"] = target.commit
        self.note(None, target.commit)
        if not params.clone:
            return host.outcome(**self.result)
        if os.path.lexists(self.dest) and not (os.path.isdir(self.dest) and not os.listdir(self.dest)):
            host.fail("%s is there and is no git repository; remove it, or give another dest" % self.dest)
        parent = os.path.dirname(self.dest)
        host.directory(parent)
        if host.check:
            pretend_checkout(host, self.dest)
            return self.outcome()
        words = self.clone_options(target) + ["--", self.repo, self.dest]
        self.git.must("cannot clone %s" % self.repo, "clone", *words, cwd=parent)
        if params.bare and params.remote != "origin":
            self.git.must("cannot name the remote", "remote", "rename", "origin", params.remote)
        if params.refspec:
            self.git.must("cannot fetch %s" % params.refspec, "fetch", params.remote, params.refspec)
        self.check_out(target)
        self.result["after"] = self.git.commit(self.head())
        return self.outcome()

    def clone_options(self, target: Target) -> List[str]:
        params = self.params
        # Older versions of git take no name for the remote of a bare repository.
        found = ["--bare"] if params.bare else ["--no-checkout", "--origin", params.remote]
        if target.kind != "commit":
            if target.name:
                found += ["--branch", target.name]
            if (params.depth or 0) > 0:
                found += ["--depth", str(params.depth)]
            if params.single_branch:
                found.append("--single-branch")
        elif (params.depth or 0) > 0:
            self.host.warn("depth is left out: a commit may be deeper than that in the history")
        if params.reference:
            found += ["--reference", params.reference]
        if params.separate_git_dir:
            found += ["--separate-git-dir", self.host.expand(params.separate_git_dir)]
        return found

    # --- one that is there ---

    def update(self) -> None:
        params, git, before = self.params, self.git, self.result["before"]
        is_modified = not params.bare and git.modifications()
        if is_modified and not params.force:
            self.host.fail("Local modifications exist in the destination: %s (force=no)." % self.dest,
                           before=before)  # fmt: skip
        target = git.target(self.repo, params.version, bool(params.refspec))
        url = git.query("config", "--get", "remote.%s.url" % params.remote).stdout.strip()
        self.result["remote_url_changed"] = bool(url) and not self.is_same(url)
        if self.result["remote_url_changed"] or not url:
            what = "remote %s of %s" % (params.remote, self.dest)
            self.host.note("%s\n" % url if url else "", self.repo + "\n", what)
        if is_modified:
            self.host.note("modified\n", "as in the repository\n", self.dest)
            self.result["msg"] = "Local modifications exist in the destination: %s" % self.dest
        if self.host.check:
            self.foretell(target)
            return
        if not self.is_at(target) or is_modified or url != self.repo:
            if url != self.repo:
                words = ["set-url"] if url else ["add"]
                git.must("cannot set the remote's address", "remote", *words, params.remote, self.repo)
            self.fetch(target)
            self.check_out(target)
        elif self.has_submodules():
            self.check_out_submodules()
        self.result["after"] = git.commit(self.head())
        if self.result["after"] != before:
            self.note(before, self.result["after"])

    def is_at(self, target: Target) -> bool:
        """Whether just this is checked out already, so that nothing has to be fetched."""
        if not target.is_at(self.result["before"]) or self.params.verify_commit or self.params.refspec:
            return False
        return self.params.bare or self.git.branch() == (target.name if target.kind == "branch" else "")

    def foretell(self, target: Target) -> None:
        if not target.is_at(self.result["before"]):
            self.result["after"] = target.commit
            self.note(self.result["before"], target.commit)
        if self.has_submodules():
            self.host.warn("whether the submodules of %s change is not known before they are fetched" % self.dest)

    def fetch(self, target: Target) -> None:
        """Fetch what the version needs; all branches and tags unless less is asked for."""
        params = self.params
        heads = "refs/heads/%s" if params.bare else "refs/remotes/" + params.remote + "/%s"
        is_shallow = (params.depth or 0) > 0
        if target.kind == "branch" and (is_shallow or params.single_branch):
            specs = ["+refs/heads/%s:%s" % (target.name, heads % target.name)]
        elif target.kind == "tag" and (is_shallow or params.single_branch):
            specs = ["+refs/tags/%s:refs/tags/%s" % (target.name, target.name)]
        else:
            specs = ["+refs/heads/*:" + heads % "*", "+refs/tags/*:refs/tags/*"]
        options = ["--depth", str(params.depth)] if is_shallow and target.kind != "commit" else []
        if params.refspec:
            specs.append(params.refspec)
        if params.bare:
            options.append("--update-head-ok")
        self.git.must("cannot fetch %s" % self.repo, "fetch", "--force", *(options + [params.remote] + specs))

    def check_out(self, target: Target) -> None:
        """Prove the signature, then check out the files, then those of the submodules."""
        git, params = self.git, self.params
        name = "%s/%s" % (params.remote, target.name) if target.kind == "branch" else target.name or target.commit
        if params.bare:
            name = target.name or target.commit
        commit = git.commit(name)
        if commit is None:
            # Some servers give a commit that no branch or tag leads to.
            git.must("%s has no commit %s; give refspec, which references to fetch" % (self.repo, name),
                     "fetch", params.remote, name)  # fmt: skip
            commit = git.commit(name) or git.commit("FETCH_HEAD") or ""
        if params.verify_commit:
            _signature.verify(git, target, commit, params.gpg_allowlist)
        if params.bare:
            return
        if target.kind == "branch":
            words = ["-B", target.name, name]
        else:
            words = ["--detach", commit]
        git.must("cannot check out %s" % name, "checkout", "--force", *words)
        if self.has_submodules():
            self.check_out_submodules()

    def has_submodules(self) -> bool:
        return self.params.recursive and not self.params.bare and os.path.exists(os.path.join(self.dest, SUBMODULES))

    def check_out_submodules(self) -> None:
        git = self.git
        before = git.query("submodule", "status", "--recursive").stdout
        git.must("cannot set the addresses of submodules", "submodule", "sync", "--recursive")
        words = ["--init", "--recursive", "--force"] + (["--remote"] if self.params.track_submodules else [])
        git.must("cannot check out the submodules", "submodule", "update", *words)
        after = git.query("submodule", "status", "--recursive").stdout
        if commits(before) != commits(after):
            self.host.note(before, after, "submodules of " + self.dest)
            self.result["submodules_changed"] = True

    def move(self) -> None:
        """Keep the repository apart from now on; git itself moves it."""
        wanted = self.host.expand(self.params.separate_git_dir)
        done = self.git.must("cannot read %s" % self.dest, "rev-parse", "--absolute-git-dir").strip()
        if os.path.realpath(done) == os.path.realpath(wanted):
            return
        self.result.update(git_dir_before=done, git_dir_now=wanted)
        self.host.note(done + "\n", wanted + "\n", "repository of " + self.dest)
        if not self.host.check:
            self.git.must("cannot move the repository", "init", "--separate-git-dir", wanted)


def commits(status: str) -> List[str]:
    """The submodules' commits and paths; a mark before them says that one is not checked out as it should be."""
    return [" ".join(line.split(" (")[0].split()) for line in status.split("\n")]
