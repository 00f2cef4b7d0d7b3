"""Sets that come from a store: chosen, their signature looked at first, compared before they bear their name here."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List

from opsplay.agent import backups, chain, files, signatures
from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.sizes import free_bytes, told_size
from opsplay.agent.spec import Params
from opsplay.modules.backup._choosing import base_of, choose, sets_of, told_apart
from opsplay.modules.backup._store import Store, StoreError, begun_at

# A signature has some hundred bytes, a manifest of many thousand files some MiB.
SIGNATURE_MOST, MANIFEST_MOST = 64 << 10, 64 << 20
NEWEST = ("latest", "latest_verified")


def pull(host: Host, store: Store, directory: str, params: Params) -> Dict[str, Any]:
    """Fetch one set, unless it is here, and before it what it stands on. Raises StoreError.

    Where the newest one is asked for, one that cannot be trusted is passed over, loudly; one that is named is not.
    """
    sets, wrong = told_apart(sets_of(store, params.name))
    if params.select in wrong:
        raise StoreError(wrong[params.select])
    passed = {} if params.select not in NEWEST else dict(wrong)
    chosen, base = trusted(host, store, sets, passed, params)
    refused = [passed[stamp] for stamp in sorted(passed, reverse=True) if stamp > chosen["stamp"]]
    for reason in refused:
        host.warn("%s; in its place the set %s is taken" % (reason, chosen["stamp"]))
    result = {"folder": os.path.join(directory, chosen["stamp"]), "stamp": chosen["stamp"],
              "manifest": chosen["manifest"], "begun_at": begun_at(chosen["manifest"]),
              "base": base["stamp"] if base is not None else "", "refused": refused}  # fmt: skip
    for each in ([base] if base is not None else []) + [chosen]:
        bring(host, store, directory, each, params)
    return result


def trusted(host: Host, store: Store, sets: List[Dict[str, Any]], passed: Dict[str, str], params: Params) -> Any:
    """The set that is meant and what it stands on, both signed as wanted. Raises StoreError.

    Why others are passed over is added to `passed`, by stamp.
    """
    try:
        fit = choose(sets, params)
    except StoreError as problem:
        raise StoreError("; ".join([str(problem)] + sorted(passed.values()))) from None
    for chosen in reversed(fit):
        try:
            base = base_of(chosen, sets)
            for each in ([base] if base is not None else []) + [chosen]:
                refuse_unsigned(host, store, each, params)
            return chosen, base
        except signatures.Refused as problem:
            if params.select not in NEWEST:
                raise StoreError("%s; nothing was fetched" % problem) from None
            passed[chosen["stamp"]] = str(problem)
    raise StoreError("no set can be trusted, nothing was fetched: %s" % "; ".join(sorted(passed.values())))


def refuse_unsigned(host: Host, store: Store, entry: Dict[str, Any], params: Params) -> None:
    """Before any of its files is fetched. Raises signatures.Refused, StoreError."""
    if not params.signed_by:
        return
    above = "%s/%s/" % (params.name, entry["stamp"])
    what = "the set %s" % entry["stamp"]
    signature = None
    if store.digest(above + backups.SIGNATURE) is not None:
        signature = small(store, above + backups.SIGNATURE, SIGNATURE_MOST)
    content = small(store, above + backups.MANIFEST, MANIFEST_MOST)
    if not signatures.same(content, entry["manifest"]):
        raise signatures.Refused("%s: its manifest has changed while it was read" % what)
    allowed = signatures.public_keys(host, params.signed_by)
    signatures.judge(host, what, content, signature, allowed)


def small(store: Store, path: str, most: int) -> bytes:
    """A file's whole content. Raises StoreError for one that is too large."""
    return b"".join(bounded(store, path, most))


def bounded(store: Store, path: str, most: int) -> Iterator[bytes]:
    """A file's content in pieces. Raises StoreError when more comes than there may be: a disk is not filled by it."""
    come = 0
    for piece in store.get(path):
        come += len(piece)
        if come > most:
            raise StoreError("what came is refused: %s has more than the %d bytes that it may have" % (path, most))
        yield piece


def bring(host: Host, store: Store, directory: str, chosen: Dict[str, Any], params: Params) -> None:
    """Fetch one set, unless it is here. Raises StoreError."""
    target = os.path.join(directory, chosen["stamp"])
    if os.path.exists(os.path.join(target, backups.MANIFEST)):
        try:
            here = backups.load(target)
        except backups.Unreadable as problem:
            raise StoreError("%s is here and is not what the store has: %s" % (target, problem)) from None
        signatures.require(host, here, params.signed_by)
        problems = chain.damage(host, here)
        if not problems and here.data == chosen["manifest"]:
            return
        host.fail("%s is here and is not what the store has: %s" % (target, "; ".join(problems) or "another manifest"))
    refuse_full(directory, chosen)
    backups.make_folder(host, directory)
    host.note("", "%s\n" % chosen["stamp"], directory)
    host.changed = True
    if host.check:
        host.pretend(target, Node("directory", 0o700, os.geteuid(), os.getegid()))
    else:
        fetch(host, store, directory, chosen, params)


def refuse_full(directory: str, chosen: Dict[str, Any]) -> None:
    """Nothing is fetched that has no room. Raises StoreError."""
    needed, free = sum(int(entry["size"]) for entry in chosen["manifest"]["files"]), free_bytes(directory)
    if free < needed:
        text = "the set %s has %s, and %s are free in %s; nothing was fetched"
        raise StoreError(text % (chosen["stamp"], told_size(needed), told_size(free), directory))


def fetch(host: Host, store: Store, directory: str, chosen: Dict[str, Any], params: Params) -> None:
    """Fetch a set into a hidden folder, compare it with its manifest, and give it its name. Raises StoreError."""
    work = host.temporary.folder(directory)
    most = {entry["name"]: entry["size"] for entry in chosen["manifest"]["files"]}
    where = "%s/%s/%s" % (params.name, chosen["stamp"], backups.SIGNATURE)
    if store.digest(where) is not None:
        most[backups.SIGNATURE] = SIGNATURE_MOST
    most[backups.MANIFEST] = MANIFEST_MOST
    for name in most:
        path = os.path.join(work, name)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        host.progress("fetching %s" % name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for piece in bounded(store, "%s/%s/%s" % (params.name, chosen["stamp"], name), most[name]):
                file.write(piece)
    try:
        here = backups.load(work)
        signatures.refuse(host, here, params.signed_by)
    except (signatures.Refused, backups.Unreadable) as problem:
        raise StoreError("what came is refused: %s" % str(problem).replace(work, chosen["stamp"])) from None
    problems = chain.damage(host, here)
    if problems or here.data != chosen["manifest"]:
        raise StoreError("what came is refused: %s" % ("; ".join(problems) or "its manifest has changed meanwhile"))
    files.sync_tree(work)
    with host.critical(backups.PUBLISHING):
        os.rename(work, os.path.join(directory, chosen["stamp"]))
        host.temporary.paths.discard(work)
    files.sync_directory(directory)
