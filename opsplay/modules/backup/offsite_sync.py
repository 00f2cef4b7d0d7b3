"""Send backups to a store elsewhere, fetch them from there, or prove that a recent one is there.

The store is a host that `backup_store` has made one, or a bucket that speaks S3. Every file's sha256 is computed at the
far end from what it has stored. A set's manifest is sent last, so that a set which can be seen there is whole; nothing
there is overwritten or removed. What is fetched is compared with its manifest before the set bears its name here. An
increment travels after the full set that it stands on, and not without it. With `signed_by` the newest set that is
signed so is fetched, with a warning (and `refused`) for each newer one that is not; one that is named is refused.
"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List

from opsplay.agent import backups
from opsplay.agent.host import Host
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Choice, Float, Int, Name, Params, Path, Str
from opsplay.modules.backup._choosing import is_verified, sets_of, stands, told_apart
from opsplay.modules.backup._fetching import pull
from opsplay.modules.backup._store import Store, StoreError, begun_at
from opsplay.modules.backup._store_s3 import S3Store
from opsplay.modules.backup._store_ssh import SshStore

PARAMS = {
    "host": Str(help="A store over SSH: its host"),
    "port": Int(default=22, min=1, max=65535, help="Its SSH port"),
    "user": Name(default="backup-store", help="Its account"),
    "host_key": Str(help="Its host key (`ssh-ed25519 AAAA…`): another one is refused"),
    "private_key": Path(help="The file of the key to log in with, on this host"),
    "key": Str(secret=True, help="The private key itself, in place of private_key: it is never written to a disk"),
    "bucket": Name(help="A store that speaks S3: its bucket"),
    "endpoint": Str(help="Its address, `https://s3.example.org:9000`; without it that of Amazon's region"),
    "region": Str(default="us-east-1", help="The region that requests are signed for"),
    "addressing": Choice("auto", "path", "virtual", default="auto", help="Where the bucket is named: in the path, or "
                         "before the host's name; auto: in the path where an endpoint is given"),
    "prefix": Str(default="", help="What all names in the bucket begin with"),
    "access_key": Str(help="The access key's id"),
    "secret_key": Str(secret=True, help="Its secret: it is on no command line and never written to a disk"),
    "session_token": Str(secret=True, help="The token of temporary credentials"),
    "credentials": Path(help="A file on this host in place of them, in the form of ~/.aws/credentials: its [default]"),
    "ca_file": Path(help="Certificates (PEM, on this host) that vouch for the endpoint, in place of the system's"),
    "part_size": Int(default=16, min=5, max=5120, help="MiB; a larger file is sent in parts of this size"),
    "proof": Choice("checksum", "read", default="checksum", help="How the bucket proves a file: by the sha256 that it "
                    "computed, where it has one, or always by reading the whole back"),
    "timeout": Int(default=60, min=1, help="Seconds that the endpoint may be silent"),
    "retries": Int(default=5, min=0, max=20, help="How often a request is repeated that the endpoint could not serve"),
    "dir": Path(required=True, help="The folder of the backups here"),
    "name": Name(required=True, help="Whose backups: the folder's name below dir"),
    "state": Choice("pushed", "pulled", "checked", default="pushed", help="Send, fetch, or look how old the newest is"),
    "which": Choice("newest", "all", default="all", help="pushed: what is sent of what the store lacks"),
    "select": Str(default="latest_verified", help="pulled: latest_verified, latest, or the stamp of a set"),
    "before": Str(help="pulled: only what was begun before this time (UTC, 2026-11-28T02:00:00Z)"),
    "signed_by": SIGNED_BY,
    "max_age": Float(help="Fail when the newest verified set there is older than so many hours"),
}  # fmt: skip
CHECK = "exact"
EXCLUSIVE = (
    ("private_key", "key"), ("host", "bucket"), ("host_key", "bucket"),
    ("credentials", "secret_key"), ("credentials", "access_key"), ("credentials", "session_token"),
)  # fmt: skip


def run(host: Host, params: Params) -> Dict[str, Any]:
    directory = os.path.join(host.expand(params.dir), params.name)
    try:
        with way(host, params) as store:
            if params.state == "checked":
                result = summary(store, params)
            else:
                act = push if params.state == "pushed" else pull
                result = act(host, store, directory, params)
    except StoreError as problem:
        host.fail("%s: %s" % (params.name, problem))
    return host.outcome(**result)


def way(host: Host, params: Params) -> Store:
    """The store that the parameters name. Fails where they name none."""
    if bool(params.host) == bool(params.bucket):
        host.fail("give host (a store over SSH, made by backup_store) or bucket (a store that speaks S3)")
    return S3Store(host, params) if params.bucket else SshStore(host, params)


# --- pushed ---


class Unfit(StoreError):
    """One set cannot be sent, whatever the way there: others can."""


def push(host: Host, store: Store, directory: str, params: Params) -> Dict[str, Any]:
    """Send what the store lacks, oldest first. Raises StoreError, in the end also for those that cannot be sent."""
    refused: List[str] = []
    ours, coming = backups.backups_below(directory, refused), pretended(host, directory)
    if not ours and not coming:
        host.fail("; ".join(["%s holds no backup that could be sent" % directory] + refused))
    there = {entry["stamp"]: entry["manifest"] for entry in sets_of(store, params.name)}
    missing = [backup for backup in ours if backup.stamp not in there]
    if params.which == "newest":
        newest = ours[-1].increment_of or {}
        missing = [backup for backup in missing if backup is ours[-1] or backup.stamp == newest.get("stamp")]
    sent = 0
    for stamp in coming:
        host.note("", "%s\n" % stamp, "%s on %s" % (params.name, store.place))
        host.changed = True
    for backup in missing:
        host.note("", "%s, %d bytes\n" % (backup.stamp, backup.size), "%s on %s" % (params.name, store.place))
        if host.check:
            host.changed = True
            continue
        try:
            sent += send(host, store, backup, params)
        except Unfit as problem:
            refused.append(str(problem))
    others = [backup.stamp for backup in ours if backup.stamp in there and there[backup.stamp] != backup.data]
    if others:
        text = "the store has another set as %s: two hosts may send under one name; that of this host is not there"
        refused.append(text % ", ".join(others))
    if refused:
        raise StoreError("; ".join(refused))
    # A preview has sent nothing that could be recent enough.
    result = summary(store, Params(params, max_age=None) if host.check else params)
    result.update(sets=[backup.stamp for backup in missing] + coming, bytes=sent)
    return result


def pretended(host: Host, directory: str) -> List[str]:
    """In a preview: the sets that an earlier task would have made."""
    if not host.check:
        return []
    return [name for name in host.names(directory) if not os.path.lexists(os.path.join(directory, name))]


def send(host: Host, store: Store, backup: Any, params: Params) -> int:
    """Send one set, its manifest last, and have each file proven over there. Raises StoreError."""
    problems = backups.damage(host, backup)
    if problems:
        raise Unfit("%s is not sent: %s" % (backup.folder, "; ".join(problems)))
    if backup.increment_of is not None:
        refuse_lonely(store, backup, params)
    parts = [(entry["name"], entry["sha256"], entry["size"]) for entry in backup.files]
    for extra in (backups.PROOF, backups.SIGNATURE, backups.MANIFEST):
        path = backup.path(extra)
        if os.path.exists(path):
            parts.append((extra, host.digest(path, "sha256"), os.stat(path).st_size))
    sent, total = 0, sum(size for _, _, size in parts)
    for name, sha256, size in parts:
        where = "%s/%s/%s" % (params.name, backup.stamp, name)
        if store.put(where, backup.path(name), sha256, size, teller(host, where, sent, total)):
            host.changed = True
        store.prove(where, backup.path(name), sha256, size)
        sent += size
    return sent


def refuse_lonely(store: Store, backup: backups.Backup, params: Params) -> None:
    """Raises Unfit for an increment whose base the store does not have, StoreError when it does not say."""
    wanted = backup.increment_of or {}
    there = store.digest("%s/%s/%s" % (params.name, wanted["stamp"], backups.MANIFEST))
    if there is None:
        raise Unfit("%s is not sent: it stands on %s, which the store lacks" % (backup.stamp, wanted["stamp"]))
    if there != wanted["manifest_sha256"]:
        raise Unfit("%s is not sent: the store has another set as %s" % (backup.stamp, wanted["stamp"]))


def teller(host: Host, where: str, before: int, total: int) -> Callable[[int], None]:
    """Tells how much of a set has been sent, when so much of a file has."""
    return lambda sent: host.progress("sending %s" % where, before + sent, total)


# --- looked at ---


def summary(store: Store, params: Params) -> Dict[str, Any]:
    """What the store holds, and how old the newest verified set is. Fails with max_age. Raises StoreError."""
    sets, _ = told_apart(sets_of(store, params.name))
    verified = [entry for entry in sets if is_verified(entry["manifest"]) and stands(entry, sets)]
    begun = begun_at(verified[-1]["manifest"]) if verified else None
    age = None if begun is None else time.time() - begun
    found = {"there": len(sets), "newest": verified[-1]["stamp"] if verified else "", "newest_age": age}
    if params.max_age is not None and (age is None or age > params.max_age * 3600):
        said = "there is none" if age is None else "it is %.1f hours old" % (age / 3600)
        raise StoreError("the newest verified set must not be older than %g hours: %s" % (params.max_age, said))
    return found
