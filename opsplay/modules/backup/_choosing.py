"""Which sets a store has, which of them is meant, and what it stands on."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import backups, manifests
from opsplay.agent.spec import Params
from opsplay.modules.backup._store import Store, StoreError


def sets_of(store: Store, name: str) -> List[Dict[str, Any]]:
    """The sets of the store that may be ones: what it says is not trusted to name a folder. Raises StoreError."""
    return [entry for entry in store.sets(name) if is_set(entry.get("stamp"), entry.get("manifest"))]


def is_set(stamp: Any, manifest: Any) -> bool:
    named = isinstance(stamp, str) and bool(stamp) and not stamp.startswith(".") and "/" not in stamp
    return named and isinstance(manifest, dict) and isinstance(manifest.get("files"), list)


def told_apart(sets: List[Dict[str, Any]]) -> Tuple[List[Dict[str, Any]], Dict[str, str]]:
    """Those whose manifest can be one, and why the others' cannot, by stamp."""
    good, wrong = [], {}
    for entry in sets:
        try:
            manifests.refuse(entry["manifest"])
            good.append(entry)
        except manifests.Wrong as problem:
            wrong[str(entry["stamp"])] = "the set %s is refused: %s" % (entry["stamp"], problem)
    return good, wrong


def base_of(chosen: Dict[str, Any], sets: List[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """What a set stands on, of those that the store has; None when it stands by itself. Raises StoreError."""
    wanted = chosen["manifest"].get("increment_of")
    if not wanted:
        return None
    found = [entry for entry in sets if entry["stamp"] == wanted.get("stamp")]
    if not found:
        raise StoreError("%s stands on %s, which the store does not have" % (chosen["stamp"], wanted.get("stamp")))
    return found[0]


def stands(entry: Dict[str, Any], sets: List[Dict[str, Any]]) -> bool:
    """Whether the store has what a set stands on."""
    try:
        base_of(entry, sets)
    except StoreError:
        return False
    return True


def choose(sets: List[Dict[str, Any]], params: Params) -> List[Dict[str, Any]]:
    """The sets that may be meant, oldest first: the last one is. Raises StoreError that says what there is."""
    found = sets
    if params.before:
        found = [entry for entry in found if entry["manifest"].get("started", "9") < params.before]
    if params.select == "latest_verified":
        found = [entry for entry in found if is_verified(entry["manifest"]) and stands(entry, sets)]
    elif params.select != "latest":
        found = [entry for entry in found if entry["stamp"] == params.select]
    if not found:
        there = ", ".join(entry["stamp"] for entry in sets[-10:]) or "none"
        wanted = params.select + (" before %s" % params.before if params.before else "")
        raise StoreError("there is no %s; there are %s" % (wanted, there))
    return found


def is_verified(manifest: Dict[str, Any]) -> bool:
    """Whether a set may be chosen by itself: looked at when it was made, and not made in need of a damaged service."""
    return bool((manifest.get("verified") or {}).get("level")) and manifest.get("tag") not in backups.NEEDED
