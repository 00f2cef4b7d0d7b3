"""Settings of a running Redis server: compared by their meaning, set, written to its configuration, and read back.

A setting that is not written to a file is lost at the next restart, and with it a password: a server without a
configuration file is refused, unless `persist` is false. All is taken back when one of them is refused.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional, Tuple

from opsplay.agent import files, words
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Params, Raw, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.modules.redis import _resp

PARAMS = dict(
    _resp.CONNECTION,
    set=DictOf(of=Raw(), default={}, aliases=["settings"], help="Names and values: maxmemory: 256mb"),
    requirepass=Str(secret=True, help="The password that clients need; empty for none"),
    masterauth=Str(secret=True, help="The password that a replica says to its master; empty for none"),
    persist=Bool(default=True, help="Write them to the server's configuration file, too (CONFIG REWRITE)"),
)
CHECK = "partial"
SECRET = ("requirepass", "masterauth")
# As redis.conf(5) has them: k is 1000, kb is 1024.
UNITS = {"k": 10**3, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}


def run(host: Host, params: Params) -> Dict[str, Any]:
    wanted = {name.lower(): text_of(value) for name, value in params.set.items()}
    if set(wanted) & set(SECRET):
        host.fail("set: requirepass and masterauth are parameters of their own, so that they are masked")
    wanted.update((name, params[name]) for name in SECRET if params[name] is not None)
    try:
        password, now, path = look(params, wanted)
    except _resp.RedisError as problem:
        if host.check and "cannot connect" in str(problem) and host.shadow.brings_unknown_files:
            host.note("", "".join(shown(name, wanted[name]) for name in sorted(wanted)), "Redis")
            return host.outcome()
        host.fail(str(problem))
    unknown = sorted(set(wanted) - set(now))
    if unknown:
        host.fail("this Redis has no setting %s" % ", ".join(unknown))
    odd = [name for name in SECRET if any(char in wanted.get(name, "") for char in "\r\n\0")]
    if odd:
        host.fail("%s cannot hold the end of a line" % odd[0])
    if params.persist and not path:
        text = "this Redis was started without a configuration file, so its settings would be lost at the next restart;"
        host.fail(text + " start it with one, or give persist: false")
    differing = {name: value for name, value in sorted(wanted.items()) if meaning(now[name]) != meaning(value)}
    for name, value in differing.items():
        host.note(shown(name, now[name]), shown(name, value), "Redis at %s:%d" % (params.login_host, params.login_port))
    lost = (
        [name for name in wanted if name not in differing and is_lost(path, name, now[name])] if params.persist else []
    )
    if not host.check and (differing or lost):
        apply(host, params, password, now, differing, path)
    return host.outcome()


def look(params: Params, wanted: Dict[str, str]) -> Tuple[Optional[str], Dict[str, str], str]:
    """The password that works, the settings now, and the configuration file. Raises RedisError."""
    passwords = [params.login_password]
    if wanted.get("requirepass"):
        # After a password was changed, the old one in the playbook works no more.
        passwords.append(wanted["requirepass"])
    for password in passwords:
        try:
            with _resp.Client(params, password or "") as redis:
                now = redis.config(*wanted)
                return password, now, redis.info("server").get("config_file", "")
        except _resp.RedisError as problem:
            refused = any(word in str(problem) for word in _resp.REFUSED)
            if not refused or password is passwords[-1]:
                raise
    raise _resp.RedisError("no password")


def text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(text_of(one) for one in value)
    return "" if value is None else str(value)


def meaning(text: str) -> Any:
    """A value that compares equal for 256mb and 268435456."""
    word = text.strip().lower()
    digits = word.rstrip("bgkm")
    if digits.isdigit() and word[len(digits) :] in UNITS:
        return str(int(digits) * UNITS[word[len(digits) :]])
    return word if word in ("yes", "no") else " ".join(text.split())


def shown(name: str, value: str) -> str:
    if name in SECRET:
        return "%s = %s\n" % (name, "a password" if value else "none")
    return "%s = %s\n" % (name, value)


def is_lost(path: str, name: str, value: str) -> bool:
    """Whether the configuration file says something else, or nothing, of a setting that is in force."""
    try:
        lines = files.read_whole(path).decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return False
    found = None
    for line in lines:
        first, _, rest = line.strip().partition(" ")
        if first.lower() == name:
            found = unquoted(rest)
    return found is None or meaning(found) != meaning(value)


def apply(host: Host, params: Params, password: Any, now: Dict[str, str], differing: Dict[str, str], path: str) -> None:
    """Set them, write them down, and prove by a new connection that they are in force."""
    done: Dict[str, str] = {}
    try:
        with _resp.Client(params, password or "") as redis:
            try:
                for name, value in differing.items():
                    redis.call("CONFIG", "SET", name, value)
                    done[name] = value
                if params.persist:
                    before = content(path)
                    redis.call("CONFIG", "REWRITE")
                    mend(host, path, {name: params[name] for name in SECRET if params[name]})
                    host.changed = host.changed or content(path) != before
            except _resp.RedisError as problem:
                for name in done:
                    redis.call("CONFIG", "SET", name, now[name])
                host.fail("%s; nothing was changed" % problem)
        with _resp.Client(params, differing.get("requirepass", password) or "") as redis:
            after = redis.config(*differing)
    except _resp.RedisError as problem:
        host.fail(str(problem))
    for name, value in differing.items():
        if meaning(after[name]) != meaning(value):
            host.fail("%s was set, but reads %s" % (name, "otherwise" if name in SECRET else after[name]))


def unquoted(text: str) -> str:
    try:
        return " ".join(words.split(text))
    except ValueError:
        return text


def mend(host: Host, path: str, secrets: Dict[str, str]) -> None:
    """Redis before 7 writes a password with blanks without quotes, and then starts no more: give it its quotes."""
    lines = content(path).decode("utf-8", "surrogateescape").split("\n")
    mended = [quoted(line, secrets) for line in lines]
    if mended != lines:
        found = os.stat(path)
        data = "\n".join(mended).encode("utf-8", "surrogateescape")
        files.replace(host.temporary, path, iter((data,)), found.st_mode & 0o7777, (found.st_uid, found.st_gid))


def quoted(line: str, secrets: Dict[str, str]) -> str:
    """A line of the configuration that sets a secret, with the secret in quotes where it needs them."""
    name, _, rest = line.partition(" ")
    value = secrets.get(name)
    if value is None or rest != value or not any(char in value for char in " \t'\"\\#"):
        return line
    return '%s "%s"' % (name, value.replace("\\", "\\\\").replace('"', '\\"'))


def content(path: str) -> bytes:
    try:
        return files.read_whole(path)
    except OSError:
        return b""
