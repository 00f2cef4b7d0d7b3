"""Say which SSH keys may log in to an account."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import download, web
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Name, Params, Path, Str
from opsplay.modules.accounts._helpers import Account, find_user
from opsplay.modules.accounts._keys import Key, parse

PARAMS = {
    "user": Name(required=True, help="The account"),
    "key": Str(required=True, help="The keys, a line each; or where they are: https://…, or file://… on the host"),
    "path": Path(help="The file, instead of .ssh/authorized_keys in the account's home directory"),
    "manage_dir": Bool(
        default=True, help="See that the file's directory is there, belongs to the account, and is its alone to read"
    ),
    "state": Choice("present", "absent", default="present", help="Whether the keys may log in"),
    "key_options": Str(help="Options for the keys, instead of those written before them; see sshd(8)"),
    "exclusive": Bool(default=False, help="Remove every other line from the file"),
    "comment": Str(help="A comment for the keys, instead of that written behind them"),
    "follow": Bool(default=False, help="Where the file is a link, write what it leads to"),
    "validate_certs": Bool(default=True, help="Believe an https server only with a certificate that is valid"),
}
CHECK = "exact"
_RETURNED = ("user", "key", "path", "manage_dir", "state", "key_options", "exclusive", "comment", "follow",
             "validate_certs")  # fmt: skip


def run(host: Host, params: Params) -> Dict[str, Any]:
    account = owner(host, params.user)
    wanted = wanted_keys(host, params)
    path = key_file(host, params, account)
    lines = read_lines(host, path)
    if params.state == "absent":
        kept = [line for line in lines if not any(is_for(line, key) for key in wanted)]
    elif params.exclusive:
        kept = merged([line for line in lines if any(is_for(line, key) for key in wanted)], wanted)
    else:
        kept = merged(lines, wanted)
    # A new account's group is not known to a preview; useradd names it like the account.
    group = params.user if account.gid is None else account.gid
    if params.state == "present":
        manage_folder(host, params, os.path.dirname(path), group)
    if kept != lines:
        host.write(path, "".join(line + "\n" for line in kept), 0o600, params.user, group)
    elif params.state == "present":
        host.permissions(path, 0o600, params.user, group)
    return host.outcome(keyfile=path, **{name: params[name] for name in _RETURNED})


def owner(host: Host, name: str) -> Account:
    account = find_user(host, name)
    if account is not None:
        return account
    if not (host.check and host.shadow.brings_unknown_files):
        host.fail("there is no user %s on this host; make it with the user module first" % name, user=name)
    host.warn("the user %s is not there yet; what an earlier task runs or installs may bring it" % name)
    return Account(name, None, None, home="/home/" + name)


# --- the keys that are asked for ---


def wanted_keys(host: Host, params: Params) -> List[Key]:
    """The keys, with the options and the comment that they shall have."""
    keys: List[Key] = []
    for line in key_text(host, params).split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = parse(line)
        if key is None:
            host.fail("invalid key specified: %s; a line has a type and the key's base64" % line.strip()[:80])
        if params.key_options is not None:
            key.options = params.key_options
        if params.comment is not None:
            key.comment = params.comment
        if not any(key.blob == known.blob for known in keys):
            keys.append(key)
    return keys


def key_text(host: Host, params: Params) -> str:
    source = str(params.key).strip()
    if source.startswith("file://"):
        path = source[len("file://") :]
        try:
            return host.read(path).decode("utf-8", "replace")
        except OSError as problem:
            host.fail("cannot read the key file %s: %s" % (path, problem.strerror), key=source)
    if source.startswith(("http://", "https://", "ftp://")):
        return fetched(host, source, params.validate_certs)
    return source


def fetched(host: Host, url: str, verify: bool) -> str:
    """The text at an address, fetched by this host."""
    try:
        return download.content(url, verify).decode("utf-8", "replace")
    except web.Unreachable as problem:
        host.fail("cannot fetch keys from %s: %s" % (url, problem), key=url)


# --- the file ---


def key_file(host: Host, params: Params, account: Account) -> str:
    if params.path is None:
        folder = os.path.join(account.home, ".ssh")
        if host.link_target(folder) is not None:
            # Whoever owns the home directory decides where it leads: to another account's keys, perhaps.
            host.fail("%s is a link and is not followed; give path, the real place of the file" % folder)
        path = os.path.join(folder, "authorized_keys")
    else:
        path = host.expand(params.path)
    return host.real(path) if params.follow else path


def read_lines(host: Host, path: str) -> List[str]:
    if not host.exists(path):
        return []
    lines = host.read(path).decode("utf-8", "surrogateescape").split("\n")
    return lines if lines[-1] else lines[:-1]


def is_for(line: str, key: Key) -> bool:
    """Whether a line of the file holds this key, with whatever options and comment."""
    there = parse(line)
    return there is not None and there.blob == key.blob


def merged(lines: List[str], wanted: List[Key]) -> List[str]:
    """The lines with each wanted key once, where it was first; lines of other keys stay as they are."""
    for key in wanted:
        places = [number for number, line in enumerate(lines) if is_for(line, key)]
        first = places[0] if places else len(lines)
        there = parse(lines[first]) if places else None
        line = lines[first] if there is not None and says(there, key) else text_of(key, there)
        lines = lines[:first] + [line] + [rest for rest in lines[first + 1 :] if not is_for(rest, key)]
    return lines


def says(there: Key, wanted: Key) -> bool:
    """Whether a line is as asked for. A key that comes without a comment leaves the comment that is there."""
    return there.options == wanted.options and wanted.comment in ("", there.comment)


def text_of(key: Key, there: Optional[Key]) -> str:
    comment = key.comment or (there.comment if there else "")
    return str(Key(key.kind, key.blob, key.options, comment))


def manage_folder(host: Host, params: Params, folder: str, group: Any) -> None:
    if params.manage_dir:
        host.directory(os.path.dirname(folder))
        host.directory(folder, 0o700, params.user, group)
    else:
        host.directory(folder)
