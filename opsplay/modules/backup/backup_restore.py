"""Put files of a backup set back where they belong: configuration, keys, data.

What is as the set has it stays untouched. The rest is unpacked beside its place and swapped in by renames, and what was
there is kept under a dated name. `validate` proves the result before anything is reloaded; when it does not hold, the
old files are back before the task ends. Databases of a set are restored by pg_restore from the folders it returns, and
what a program wrote by stream_restore.

An increment comes back together with the full set that it stands on, which has to lie beside it.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent import backups, chain, signatures
from opsplay.agent.cipher import KEY, Decipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Bool, Params, Path, Raw, Str
from opsplay.agent.spec import List as Listing
from opsplay.modules.backup import _joining, _unpacking

PARAMS = dict(
    {
        "src": Path(required=True, help="The set's folder, or `latest` of its name"),
        "parts": Listing(of=Str(), default=[], help="The archives to restore; without it, all of the set"),
        "validate": Listing(of=Raw(), split=False, default=[], help="Programs (lists of words) that must be content, "
                            "such as [nginx, -t]"),
        "signed_by": SIGNED_BY,
        "keep_old": Bool(default=True, help="Keep what was there under a dated name"),
    },
    **KEY,
)  # fmt: skip
CHECK = "exact"
# Seconds to wait for another restore on this host: one that goes back would take the files of the other one away.
WAIT = 600


def run(host: Host, params: Params) -> Dict[str, Any]:
    try:
        backup = backups.load(host.expand(params.src))
    except backups.Unreadable as problem:
        if host.check and host.is_directory(params.src):
            # An earlier task of the preview would have fetched it. What it brings cannot be known.
            host.changed = True
            host.pretend_program()
            host.unknown("folder", "databases", "restored", "kept")
            return host.outcome()
        host.fail(str(problem))
    signatures.require(host, backup, params.signed_by)
    problems = chain.damage(host, backup)
    if problems:
        host.fail("the set is refused: %s; nothing was changed" % "; ".join(problems))
    encryption = backup.data.get("encryption")
    if encryption and not params.key:
        host.fail("the set %s is encrypted by %s; give its key" % (backup.stamp, encryption["method"]))
    with host.lock("backup-restore", WAIT):
        if not encryption:
            return restore(host, params, backup, None)
        with Decipher(host, encryption["method"], params.key, params.key_passphrase or "") as key:
            return restore(host, params, backup, key)


def restore(host: Host, params: Params, backup: backups.Backup, key: Any) -> Dict[str, Any]:
    """Compare every archive, and swap in those that differ."""
    try:
        archives = _joining.chosen(host, backup, chain.base_of(host, backup), params.parts, key)
    except (chain.Broken, backups.Unreadable) as problem:
        host.fail("the set is refused: %s; nothing was changed" % problem)
    for archive in archives if not host.check else []:
        # What a killed run, or a power cut, has left beside: also where nothing differs any more.
        archive.sweep()
    result = {"folder": backup.folder, "databases": databases(backup), "restored": [], "kept": []}  # type: Dict[str, Any]
    try:
        differing = []
        for archive in archives:
            found = archive.differences()
            if found:
                differing.append(archive)
                host.note(_unpacking.told(found), "as in the set %s\n" % backup.stamp, archive.name)
    except Failed as problem:
        host.fail("%s cannot be read: %s; nothing was changed" % (backup.folder, problem))
    if not differing:
        return host.outcome(**result)
    host.changed = True
    result["restored"] = [path for archive in differing for path in archive.paths]
    if host.check:
        host.unknown("kept")
        return host.outcome(**result)
    result["kept"] = swap(host, params, differing)
    return host.outcome(**result)


def swap(host: Host, params: Params, differing: List[Any]) -> List[str]:
    """All of them, or none. Returns what is kept of the old ones."""
    stamp = _unpacking.stamp_now()
    problem = ""
    try:
        for archive in differing:
            archive.swap(stamp)
        problem = _unpacking.validated(host, params.validate)
    except (Failed, OSError) as failure:
        problem = str(failure)
    except BaseException:
        put_back(differing)
        raise
    if problem:
        put_back(differing)
        host.fail("%s; the files from before are back in place" % problem)
    olds = [old for archive in differing for _, old in archive.swapped if old]
    if not params.keep_old:
        from opsplay.agent import files

        for old in olds:
            files.remove_tree(old)
        return []
    return olds


def put_back(differing: List[Any]) -> None:
    for archive in reversed(differing):
        archive.back()


def databases(backup: backups.Backup) -> Dict[str, List[str]]:
    """The folders of the set's databases by the part's name, for pg_restore."""
    found = {}
    for part in backup.data.get("parts", []):
        if "folders" in part:
            found[str(part["name"])] = [backup.path(folder) for folder in part["folders"]]
    return found
