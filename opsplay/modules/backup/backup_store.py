"""Make this host the place where others keep their backups: keys that can add and never overwrite or remove.

Each key of `append_keys` may add backups and prove what is there, each of `read_keys` may fetch them; neither gets a
shell, a forwarding or a file outside of the store. What is in the store is never removed, not even by `state: absent`,
which takes the keys away.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Name, Params, Path, Str
from opsplay.agent.spec import List as Listing
from opsplay.modules.backup import _store_server

PARAMS = {
    "path": Path(default="/srv/backup-store", help="The folder that holds the backups"),
    "account": Name(default="backup-store", help="The account that takes them in"),
    "append_keys": Listing(of=Str(), split=False, default=[], help="Public keys (OpenSSH) of hosts that add backups"),
    "read_keys": Listing(of=Str(), split=False, default=[], help="Public keys that fetch backups"),
    "state": Choice("present", "absent", default="present", help="Whether the keys are accepted"),
}
CHECK = "exact"
PROGRAM = "/usr/local/lib/opsplay/backup-store"
HOMES = "/var/lib/opsplay/backup-store"


def run(host: Host, params: Params) -> Dict[str, Any]:
    home = "%s/%s" % (HOMES, params.account)
    keys = "%s/.ssh/authorized_keys" % home
    if params.state == "absent":
        host.remove(keys)
        return host.outcome(path=params.path)
    path = host.expand(params.path)
    lines = key_lines(host, path, params)
    host.call("accounts.user", name=params.account, system=True, home=home, shell="/bin/sh", create_home=False)
    host.directory("/usr/local/lib/opsplay", mode=0o755, owner="root", group="root")
    host.write(PROGRAM, _store_server.PROGRAM, mode=0o755, owner="root", group="root")
    # The account itself can change neither its keys nor what they may do.
    host.directory("%s/.ssh" % home, mode=0o755, owner="root", group="root")
    host.directory(path, mode=0o700, owner=params.account, group=params.account)
    host.write(keys, "".join(lines), mode=0o644, owner="root", group="root")
    return host.outcome(path=path)


def key_lines(host: Host, path: str, params: Params) -> List[str]:
    """The lines of authorized_keys, each with the one program that its key may run. Fails for what is no key."""
    if not params.append_keys and not params.read_keys:
        host.fail("give append_keys or read_keys: without a key nobody can reach the store")
    if any(char in path for char in " \"'\\\n"):
        host.fail("the path of a store may hold neither blanks nor quotes: %s" % path)
    lines = []
    for may, keys in (("append", params.append_keys), ("read", params.read_keys)):
        for key in keys:
            words = key.split()
            if len(words) < 2 or not words[0].startswith(("ssh-", "ecdsa-", "sk-")) or "\n" in key.strip():
                host.fail("%r is no public key; it looks like `ssh-ed25519 AAAA… comment`" % key[:60])
            lines.append('restrict,command="%s %s %s" %s\n' % (PROGRAM, path, may, " ".join(words)))
    return lines
