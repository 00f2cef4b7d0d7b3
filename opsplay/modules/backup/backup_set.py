"""Back up all that a service needs as one set: databases with their roles, configuration, keys, data.

A set is one folder with one manifest, published by one rename when every part of it is whole. Each part of a database
is a backup by itself that pg_restore takes. Sets of a type that has not all parts lie by themselves, in DIR/NAME-config
and DIR/NAME-database, so that none is taken for a whole one; configuration that has not changed makes no new set. A set
of type `emergency` is made in need, never becomes `latest`, and nothing is pruned after it.

A set of type `incremental` holds of files only what is not as the full set `base` has it, and a list of the rest; with
that base it restores like a full one. Databases, Redis and what programs write are in it whole. Where there is no full
set to stand on, it becomes one, with a warning.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from opsplay.agent import backups, chain, cipher, metrics, retention, signatures
from opsplay.agent.cipher import ENCRYPT
from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.metrics import METRICS
from opsplay.agent.pipeline import Failed
from opsplay.agent.retention import RETENTION
from opsplay.agent.shadow import Node
from opsplay.agent.signatures import SIGN
from opsplay.agent.sizes import free_bytes, told_size
from opsplay.agent.spec import Choice, Int, Name, Params, Path, Raw, Str
from opsplay.agent.spec import Dict as Mapping
from opsplay.modules.backup import _increments, _parts
from opsplay.modules.backup._archive import Archive
from opsplay.modules.backup._stream import Stream

PARAMS = dict(
    {
        "name": Name(required=True, help="The set's name, such as the service's"),
        "dir": Path(required=True, help="The folder of all backups; each set lies in DIR/NAME/TIME, mode 0700"),
        "type": Choice("full", "incremental", "database", "config", "emergency", default="full",
                       help="All parts; files as what has changed since a full set; databases and Redis alone; the"
                            " archives that are `config`; or all in need"),
        "base": Str(help="incremental: the stamp of the full set to stand on. Default: the newest verified one"),
        "databases": Mapping(of=Raw(), default={}, help="Parts that pg_backup makes: by name, its parameters"),
        "redis": Mapping(of=Raw(), default={}, help="Parts that redis_backup makes: by name, its parameters"),
        "programs": Mapping(of=Raw(), default={}, help="Parts that a program writes to its standard output: by "
                            "name, its argv, check (a program that reads it on its way), environment"),
        "archives": Mapping(of=Raw(), default={}, help="Parts of files: paths, optional (paths that may be missing), "
                            "exclude, live (files may change meanwhile) by the part's name"),
        "config": Raw(default=["config"], help="The names of those archives that hold configuration"),
        "release": Path(help="A link whose target names the release, for the record"),
        "tag": Name(help="A word that keeps the set from being pruned; of type emergency `emergency`"),
        "encrypt": ENCRYPT,
        "sign": SIGN,
        "wait": Int(default=600, min=0, help="Seconds to wait for another backup of this set"),
    },
    **RETENTION,
    **METRICS,
)  # fmt: skip
CHECK = "partial"
KINDS = ("databases", "redis", "programs", "archives")
# Types of sets that have all parts, and so lie together.
WHOLE = ("full", "incremental", "emergency")


def run(host: Host, params: Params) -> Dict[str, Any]:
    signatures.refuse_unable(host, params.sign)
    whole = params.type in WHOLE
    directory = os.path.join(host.expand(params.dir), params.name if whole else "%s-%s" % (params.name, params.type))
    base = _increments.find(host, params, directory) if params.type == "incremental" else None
    if params.type == "incremental" and base is None:
        params = Params(params, type="full")
    parts = parts_of(host, params, base)
    if not parts:
        host.fail("a set of type %s has no part; give databases or archives" % params.type)
    fingerprint = config_fingerprint(parts) if params.type == "config" else ""
    if fingerprint and fingerprint == last_fingerprint(directory):
        return host.outcome(msg="the configuration is as the last set has it", folder="", parts=[])
    check_space(host, params, directory, parts)
    if host.check:
        return preview(host, params, directory, parts, base)
    began = time.time()
    with host.lock("backup-set-%s" % params.name, params.wait):
        try:
            backup = make(host, params, directory, parts, fingerprint, base)
        except BaseException as problem:
            tell(host, params, {"success": (0, "Whether the last run made a set")})
            if isinstance(problem, (Failed, OSError, ModuleFailed, backups.Unreadable, chain.Broken)):
                host.fail("the set %s failed: %s; latest and the older sets are as they were" % (params.name, problem))
            raise
        tell(host, params, {
            "success": (1, "Whether the last run made a set"),
            "last_success_timestamp_seconds": (backup.finished, "When the last set was whole"),
            "size_bytes": (backup.size, "The size of the last set on disk"),
            "duration_seconds": (time.time() - began, "How long the last set took"),
        })  # fmt: skip
        host.note("", "set %s (%s)\n" % (params.name, params.type), directory)
        host.changed = True
        removed = settle(host, params, directory, backup)
    told = {"removed": removed, "parts": [part.name for part in parts], "seconds": round(time.time() - began, 2)}
    told["type"] = params.type
    return host.outcome(**dict(backup.describe(), manifest=backup.data, **told))


def parts_of(host: Host, params: Params, base: Optional[_increments.Base]) -> List[Any]:
    """The parts that a set of this type has. Fails for parameters that are wrong."""
    from opsplay.agent.spec import ParameterError

    names = [name for kind in KINDS for name in params[kind]]
    for name in names:
        if names.count(name) > 1:
            host.fail("there are two parts of the name %r" % name)
        if name != backups.folder_name(name) or name in (backups.MANIFEST, backups.SIGNATURE, backups.LATEST):
            host.fail("%r cannot be the name of a part; use letters, digits, - and _" % name)
    found: List[Any] = []
    common = dict({"sign": params.sign}, **({"encrypt": params.encrypt} if params.encrypt else {}))
    try:
        if params.type != "config":
            for name, given in sorted(params.databases.items()):
                found.append(_parts.Nested(host, name, "pg_backup", dict(common, **given)))
            for name, given in sorted(params.redis.items()):
                found.append(_parts.Nested(host, name, "redis_backup", dict(common, **given)))
            for name, given in sorted(params.programs.items()):
                found.append(Stream(host, name, given))
        if params.type != "database":
            for name, given in sorted(params.archives.items()):
                if params.type != "config" or name in params.config:
                    was = base.entries(name) if base is not None else None
                    found.append(Archive(host, name, given, params.type == "full", was))
    except ParameterError as problem:
        host.fail("%s: %s" % (name, problem.message))
    return found


def config_fingerprint(parts: List[Any]) -> str:
    import hashlib

    return hashlib.sha256(" ".join(part.fingerprint() for part in parts).encode()).hexdigest()


def last_fingerprint(directory: str) -> str:
    """That of the newest set of configuration here."""
    found = [backup.data.get("fingerprint") or "" for backup in backups.backups_below(directory)]
    return ([one for one in found if one] or [""])[-1]


def check_space(host: Host, params: Params, directory: str, parts: List[Any]) -> None:
    """Fails when the archives alone have no room; each database's module looks for itself."""
    needed = sum(part.size() for part in parts)
    free = free_bytes(directory)
    if needed > free:
        text = "the set %s needs up to %s in %s, where %s are free; nothing was begun"
        host.fail(text % (params.name, told_size(needed), directory, told_size(free)))


def preview(host: Host, params: Params, directory: str, parts: List[Any], base: Any) -> Dict[str, Any]:
    """What would be made; databases say so in their own words."""
    backups.make_folder(host, directory)
    for part in parts:
        if not isinstance(part, Archive):
            part.preview(directory)
    host.note("", "set %s (%s)\n" % (params.name, params.type), directory)
    host.changed = True
    # So that a task that sends it away knows of it.
    coming = os.path.join(directory, backups.free_stamp(directory, time.time()))
    host.pretend(coming, Node("directory", 0o700, os.geteuid(), os.getegid()))
    host.unknown("folder", "size", "manifest", "seconds")
    told = {"increment_of": base.backup.stamp if base is not None else "", "type": params.type}
    return host.outcome(parts=[part.name for part in parts], **told)


def make(
    host: Host, params: Params, directory: str, parts: List[Any], fingerprint: str, base: Optional[_increments.Base]
) -> backups.Backup:
    """Every part in a hidden folder, described and brought to the disk, then published. Raises Failed, OSError."""
    backups.make_folder(host, directory)
    hidden = host.temporary.folder(directory)
    began = time.time()
    crypt = cipher.wanted(host, params.encrypt)
    made = []
    if crypt is not None:
        crypt.__enter__()
    try:
        for number, part in enumerate(parts, 1):
            host.progress("part %s" % part.name, number, len(parts))
            made.append(part.make(hidden, crypt))
            for path in made[-1].get("missing", []):
                host.warn("%s: %s is not there and is left out" % (part.name, path))
        encryption = crypt.describe() if crypt is not None else None
    finally:
        if crypt is not None:
            crypt.__exit__()
    if crypt is None:
        host.warn("the set %s lies in the clear in %s; give encrypt" % (params.name, directory))
    manifest = {
        "version": backups.VERSION, "kind": "backup_set", "name": params.name, "type": params.type,
        "tag": params.tag or (backups.EMERGENCY if params.type == "emergency" else ""),
        "opsplay": backups.OPSPLAY, "host": os.uname().nodename,
        "started": backups.moment(began), "finished": backups.moment(),
        "release": os.path.basename(os.path.realpath(params.release)) if params.release else "",
        "fingerprint": fingerprint, "encryption": encryption,
        "parts": [{key: value for key, value in part.items() if key != "files"} for part in made],
        "files": [entry for part in made for entry in part["files"]],
        "verified": {"level": "read", "at": backups.moment()},
    }  # fmt: skip
    if base is not None:
        manifest.update(base.described(host, parts))
    listing = _increments.listing_of(parts) if params.type == "full" else None
    if listing is not None:
        manifest["listing"] = listing.described()
    backup = backups.publish(host, hidden, manifest, began, sign=params.sign)
    if listing is not None:
        listing.keep(host, backup)
    _increments.stand(host, backup)
    return backup


def settle(host: Host, params: Params, directory: str, backup: backups.Backup) -> List[str]:
    """Let `latest` lead to the new set, and prune; not after a set made in need. Fails, saying what is there."""
    if params.type == "emergency":
        return []
    there = "the set %s is there, published and proven: %s" % (params.name, backup.folder)
    try:
        backups.point_latest(host, backup)
    except OSError as problem:
        host.fail("%s; but latest could not be moved to it, and nothing was pruned: %s" % (there, problem))
    try:
        return retention.prune(host, directory, params)
    except (OSError, ModuleFailed, backups.Unreadable) as problem:
        host.fail("%s; only the pruning of older sets failed: %s" % (there, problem))


def tell(host: Host, params: Params, values: Dict[str, Any]) -> None:
    metrics.report(host, params, "opsplay_backup_set", {"name": params.name}, values)
