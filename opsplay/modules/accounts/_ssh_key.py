"""The SSH key pair of an account."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Params
from opsplay.modules.accounts._helpers import Account, require_tool


def ensure(host: Host, params: Params, account: Account) -> Dict[str, Any]:
    """Make the pair unless it is there. Returns its file, fingerprint and public key."""
    path = params.ssh_key_file or os.path.join(".ssh", "id_" + params.ssh_key_type)
    path = os.path.join(account.home, path)
    if not host.exists(path) or params.force:
        _generate(host, params, account, path)
    result = {"ssh_key_file": path}
    if not host.check or host.shadow.paths.get(path) is None:
        shown = host.query([require_tool(host, "ssh-keygen"), "-l", "-f", path])
        result["ssh_fingerprint"] = shown.stdout.strip() or shown.stderr.strip()
        try:
            result["ssh_public_key"] = host.read(path + ".pub").decode("utf-8", "replace").strip()
        except OSError:
            pass
    return result


def _generate(host: Host, params: Params, account: Account, path: str) -> None:
    host.note("", "key pair\n", path)
    if host.check:
        host.changed = True
        host.pretend(path, Node("file", 0o600, account.uid or 0, account.gid or 0))
        host.pretend(path + ".pub", Node("file", 0o644, account.uid or 0, account.gid or 0))
        return
    acting = _as_user(host, account)
    folder = os.path.dirname(path)
    if not host.exists(folder):
        host.must_run(acting + ["mkdir", "-p", "-m", "0700", folder])
    # The new pair is made under another name, so that the old one is there until then.
    fresh = os.path.join(folder, ".opsplay-%d-%s" % (os.getpid(), os.urandom(6).hex()))
    host.temporary.paths.update((fresh, fresh + ".pub"))
    comment = params.ssh_key_comment
    if comment is None:
        comment = "ansible-generated on %s" % os.uname().nodename
    argv = [require_tool(host, "ssh-keygen"), "-q", "-t", params.ssh_key_type, "-C", comment, "-f", fresh]
    if params.ssh_key_bits is not None:
        argv += ["-b", str(params.ssh_key_bits)]
    # Without a terminal ssh-keygen reads the passphrase, and its repetition, from its standard input.
    passphrase = params.ssh_key_passphrase or ""
    answers = ("%s\n%s\n" % (passphrase, passphrase)).encode("utf-8")
    host.must_run(acting + argv, stdin=answers, env={"DISPLAY": "", "SSH_ASKPASS": "", "SSH_ASKPASS_REQUIRE": "never"})
    for suffix in (".pub", ""):
        host.remember(path + suffix, host.stat(path + suffix))
        host.must_run(acting + ["mv", "-f", "-T", fresh + suffix, path + suffix])
        host.temporary.paths.discard(fresh + suffix)


def _as_user(host: Host, account: Account) -> List[str]:
    """What makes a program run as the account: in a folder of its own it could plant links for root to follow."""
    if os.geteuid() != 0 or account.uid == 0:
        return []
    setpriv = host.which("setpriv")
    if setpriv is not None:
        return [setpriv, "--reuid=%d" % account.uid, "--regid=%d" % account.gid, "--init-groups", "--"]
    return [require_tool(host, "runuser"), "-u", account.name, "--"]
