"""Secrets in git: in the files that repositories track, in the last commits of their branches, and in their history.

Where a secret stands is told, and of what kind it is; never the secret itself.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Tuple

from opsplay.agent.process import Completed
from opsplay.modules.hardening._audit import Answer, Check, Look, Skip, Unknown, none_of

DEPTH = 5
MOST_REPOSITORIES, MOST_HEADS = 100, 20
PASSED_OVER = (".git", "proc", "sys", "dev", "run", "node_modules", ".venv", "venv", ".cache")
# Kinds of secrets, each with an expression that git and Python both understand.
KINDS = (
    ("private key", r"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----"),
    ("AWS access key", r"(^|[^A-Z0-9])(AKIA|ASIA)[A-Z0-9]{16}([^A-Z0-9]|$)"),
    ("GitHub token", r"(^|[^A-Za-z0-9])(gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,})"),
    ("GitLab token", r"(^|[^A-Za-z0-9])glpat-[A-Za-z0-9_-]{20}"),
    ("Slack token", r"(^|[^A-Za-z0-9])xox[abprs]-[A-Za-z0-9-]{10,}"),
    ("password in an address", r"[a-z][a-z0-9+]*://[^/:@ ]+:[^/@ ${<]{4,}@"),
)
# In files of settings, a name like these with a value that is no placeholder.
WORDS = "PASSWORD|PASSWD|SECRET|TOKEN|API_KEY|APIKEY|PRIVATE_KEY"
SETTING = r"^ *(export +)?[A-Za-z0-9_.]*(" + WORDS + r")[A-Za-z0-9_]* *[=:] *[^ ]{6,}"
SETTINGS_FILES = (".env", ".ini", ".cfg", ".conf", ".properties", ".yml", ".yaml", ".toml", ".sh")
PLACEHOLDERS = ("${", "{{", "<", "$(", "changeme", "change_me", "change-me", "example", "xxxx", "your", "!vault",
                "****", "placeholder", "os.environ", "%(")  # fmt: skip


def repositories(look: Look) -> List[str]:
    """The folders with a repository below the given paths, to a bounded depth."""
    found: List[str] = []
    pending = [(path.rstrip("/") or "/", 0) for path in look.params.git_paths]
    while pending and len(found) < MOST_REPOSITORIES:
        look.tick()
        folder, depth = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        if any(entry.name == ".git" for entry in entries) or is_bare(folder):
            found.append(folder)
        if depth < DEPTH:
            folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
            pending += [(entry.path, depth + 1) for entry in folders if entry.name not in PASSED_OVER]
    return sorted(set(found))


def is_bare(folder: str) -> bool:
    inside = [os.path.join(folder, name) for name in ("HEAD", "objects", "refs")]
    return folder.endswith(".git") and all(os.path.exists(path) for path in inside)


def git(look: Look, folder: str, *words: str) -> Completed:
    """git as the repository's owner: its settings may name programs, which then have no more than the owner's power."""
    owner = os.stat(folder)
    argv = ["git", "-C", folder, "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "--no-pager"] + list(words)
    if os.geteuid() == 0 and owner.st_uid != 0:
        switch = ["setpriv", "--reuid", str(owner.st_uid), "--regid", str(owner.st_gid), "--clear-groups", "--"]
        argv = switch + ["env", "HOME=/nonexistent"] + argv
    done = look.run(*argv)
    if "dubious ownership" in done.stderr or "unsafe repository" in done.stderr:
        raise Unknown("%s belongs to somebody else" % folder)
    return done


def scan(look: Look) -> Dict[str, Any]:
    """Everything found in all repositories: `path:line: kind`, and which branches have it where that is another."""
    folders = repositories(look)
    if not folders:
        raise Skip("there is no repository below %s" % ", ".join(look.params.git_paths))
    if look.host.which("git") is None:
        raise Unknown("git is not installed, and there are %d repositories" % len(folders))
    secrets: List[str] = []
    troubles: List[str] = []
    for folder in folders:
        try:
            secrets += in_repository(look, folder)
        except Unknown as problem:
            troubles.append(str(problem))
    return {"secrets": secrets, "troubles": troubles, "count": len(folders)}


def in_repository(look: Look, folder: str) -> List[str]:
    bare = is_bare(folder)
    found: Dict[Tuple[str, str, str], str] = {}
    heads = git(look, folder, "for-each-ref", "--format=%(refname)", "--count=%d" % MOST_HEADS, "refs").stdout.split()
    trees = ([] if bare else [""]) + heads
    for tree in trees:
        for path, line, kind in grep(look, folder, tree):
            # The same secret in several branches is one.
            where = "%s:%s" % (path, line) + (" in " + tree if tree else "")
            found.setdefault((path, kind, "head" if tree else line), where)
    known = {(path, kind) for path, kind, _ in found}
    for path, kind, commit in history(look, folder) if heads else []:
        if (path, kind) not in known:
            found.setdefault((path, kind, "history"), "%s in the commit %s" % (path, commit))
    here = {(path, kind) for path, kind, place in found if place != "head"}
    shown = [(place, key) for key, place in found.items() if key[2] != "head" or (key[0], key[1]) not in here]
    return ["%s/%s: %s" % (folder, place, key[1]) for place, key in sorted(shown)]


def history(look: Look, folder: str) -> Iterator[Tuple[str, str, str]]:
    """(path, kind, commit) of lines that any commit of any branch has added, also those that are gone since."""
    import re

    expressions = [(kind, re.compile(text)) for kind, text in KINDS]
    setting = re.compile(SETTING, re.IGNORECASE)
    either = "|".join("(%s)" % text for _, text in KINDS + (("", SETTING),))
    shown = ["-p", "-U0", "--no-color", "--no-ext-diff", "--no-textconv", "--format=commit %h"]
    done = git(look, folder, "log", "--all", *(shown + ["-i", "-G", either]))
    if done.rc != 0 or done.truncated or done.timed_out:
        raise Unknown("%s: its history could not be searched whole" % folder)
    commit = path = ""
    for row in done.stdout.split("\n"):
        look.tick()
        if row.startswith("commit "):
            commit = row[7:]
        elif row.startswith("+++ "):
            path = row[4:].partition("/")[2]
        elif row.startswith("+") and not is_placeholder(row):
            kind = next((kind for kind, expression in expressions if expression.search(row[1:])), "")
            if not kind and is_settings_file(path) and setting.search(row[1:].strip()):
                kind = "password or key in a file of settings"
            if kind:
                yield path, kind, commit


def grep(look: Look, folder: str, tree: str) -> Iterator[Tuple[str, str, str]]:
    """(path, line, kind) in the tracked files, or in a branch's last commit."""
    import re

    expressions = [(kind, re.compile(text)) for kind, text in KINDS]
    setting = re.compile(SETTING, re.IGNORECASE)
    wanted: List[str] = []
    for _, text in KINDS + (("", SETTING),):
        wanted += ["-e", text]
    wanted += [tree] if tree else []
    done = git(look, folder, "grep", "-n", "-I", "-i", "-E", "--null", "--full-name", *wanted)
    if done.rc > 1:
        raise Unknown("%s: git cannot search it" % folder)
    for row in done.stdout.split("\n"):
        look.tick()
        path, _, rest = row.partition("\0")
        # Newer versions of git end the number with a null character, too.
        number, _, text = rest.replace("\0", ":", 1).partition(":")
        path = path[len(tree) + 1 :] if tree else path
        for kind, expression in expressions:
            if expression.search(text) and not is_placeholder(text):
                yield path, number, kind
                break
        else:
            if is_settings_file(path) and setting.search(text.strip()) and not is_placeholder(text):
                yield path, number, "password or key in a file of settings"


def is_settings_file(path: str) -> bool:
    name = os.path.basename(path)
    return name.endswith(SETTINGS_FILES) or name.startswith(".env")


def is_placeholder(text: str) -> bool:
    low = text.lower()
    return any(mark in low for mark in PLACEHOLDERS)


def secrets(look: Look) -> Answer:
    found = look.once("secrets", lambda: scan(look))
    if not found["secrets"] and found["troubles"]:
        raise Unknown("; ".join(found["troubles"][:5]))
    return none_of(found["secrets"], "none in %d repositories" % found["count"])


CHECKS = (
    Check("secrets.git", "critical", "There are no secrets in git", "none tracked, none in a branch or its history",
          "make it invalid and give a new one; it stays in the history", secrets),
)  # fmt: skip
