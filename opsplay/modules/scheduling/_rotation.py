"""Logrotate's files: the text of an entry, the logs that other entries name, and logrotate's own judgement."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent.host import Host

MAIN, FOLDER = "/etc/logrotate.conf", "/etc/logrotate.d"
SCRIPTS = ("firstaction", "prerotate", "postrotate", "lastaction", "preremove")
# A parameter that is a switch, with what is written when it is false.
SWITCHES = {
    "compress": "nocompress",
    "delaycompress": "nodelaycompress",
    "missingok": "nomissingok",
    "notifempty": "ifempty",
    "copytruncate": "nocopytruncate",
    "dateext": "nodateext",
    "dateyesterday": "",
    "sharedscripts": "nosharedscripts",
}
VALUES = ("rotate", "start", "size", "minsize", "maxsize", "minage", "maxage", "dateformat", "olddir", "su")
SECONDS = 60


def entry(params: Any) -> str:
    """The text of the file."""
    lines = ["    %s" % params.frequency] if params.frequency else []
    lines += ["    %s %s" % (key, params[key]) for key in VALUES if params[key] is not None]
    for key, opposite in SWITCHES.items():
        if params[key] is not None and (params[key] or opposite):
            lines.append("    %s" % (key if params[key] else opposite))
    if params.create is not None:
        lines.append("    %s" % creation(params.create))
    lines += ["    %s" % line.strip() for line in params.options or ()]
    for key in SCRIPTS:
        if params[key] is not None:
            body = ["        " + line if line.strip() else "" for line in params[key].strip("\n").split("\n")]
            lines += ["    " + key] + body + ["    endscript"]
    paths = [('"%s"' % path if " " in path else path) for path in params.paths]
    return "\n".join(paths) + " {\n" + "".join(line + "\n" for line in lines) + "}\n"


def creation(wanted: Dict[str, str]) -> str:
    """`create` with what of mode, owner and group is given; logrotate wants the mode before the others."""
    if not wanted:
        return "create"
    words = [str(wanted[key]) for key in ("mode", "owner", "group") if key in wanted]
    return " ".join(["create"] + words)


def named_logs(text: str) -> List[str]:
    """The paths and patterns that a file of logrotate's has entries for."""
    found: List[str] = []
    pending: List[str] = []
    inside, script = False, False
    for line in text.split("\n"):
        stripped = line.strip()
        if script:
            script = stripped != "endscript"
            continue
        if inside:
            script = stripped.split(" ")[0] in SCRIPTS
            inside = not stripped.startswith("}")
            continue
        if stripped.startswith("#"):
            continue
        before, brace, after = stripped.partition("{")
        words = split_quoted(before)
        if words and not words[0].startswith(("/", "~")) and not pending:
            # A directive for all that follows.
            continue
        pending += words
        if brace:
            found += pending
            pending = []
            inside = "}" not in after
    return found


def split_quoted(text: str) -> List[str]:
    """The words of a line; quotes keep blanks together."""
    words: List[str] = []
    word, quote = "", ""
    for sign in text + " ":
        if quote:
            quote = "" if sign == quote else quote
            word += "" if not quote else sign
        elif sign in "\"'":
            quote = sign
        elif sign.isspace():
            words += [word] if word else []
            word = ""
        else:
            word += sign
    return words


def covers(pattern: str, path: str) -> bool:
    """Whether a pattern (glob(7): a star stops at a slash) stands for this path or this very pattern."""
    import fnmatch

    parts, wanted = pattern.split("/"), path.split("/")
    if pattern == path:
        return True
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, wanted, parts))


def overlapping(mine: List[str], others: List[str]) -> Optional[Tuple[str, str]]:
    """The first of my paths that one of the others stands for, too, with that one."""
    import glob

    for path in mine:
        for other in others:
            if covers(path, other) or covers(other, path):
                return path, other
            both = set(glob.glob(path)) & set(glob.glob(other))
            if both:
                return min(both), other
    return None


def complaints(host: Host, program: str, texts: Dict[str, str]) -> List[str]:
    """What logrotate has to say against files of /etc/logrotate.d with the host's main file, read as a trial."""
    folder = host.temporary.folder("/run")
    try:
        inner = os.path.join(folder, "d")
        os.mkdir(inner, 0o755)
        for name, text in texts.items():
            _put(os.path.join(inner, name), text)
        main = os.path.join(folder, "main")
        _put(main, _main_text(host, inner))
        argv = [program, "--debug", "--state", "/dev/null", main]
        done = host.query(argv, env={"LC_ALL": "C"}, timeout=SECONDS)
        said = done.stderr.replace(inner + "/", "")
    finally:
        host.temporary.discard(folder)
    return [line.strip() for line in said.split("\n") if line.lower().startswith(("error:", "warning:"))]


def _main_text(host: Host, inner: str) -> str:
    """The main file, which reads the folder of the trial in the place of its own."""
    include = "include " + inner
    if not host.exists(MAIN) or not host.knows(MAIN):
        return include + "\n"
    lines = host.read(MAIN).decode("utf-8", "surrogateescape").split("\n")
    wanted = ["include", FOLDER]
    return "\n".join(include if line.split() == wanted else line for line in lines) + "\n"


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    # logrotate passes over files that others than root may write to.
    os.chmod(path, 0o644)
