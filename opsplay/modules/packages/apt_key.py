"""Say whose signatures apt trusts, in files below /etc/apt/trusted.gpg.d."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

from opsplay.agent import download, web
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Params, Path, Str
from opsplay.modules.packages import _openpgp
from opsplay.modules.packages._openpgp import Key

PARAMS = {
    "id": Str(help="The key's fingerprint or ID; needed for state absent, and to look before anything is fetched"),
    "url": Str(help="The address of the key"),
    "data": Str(help="The key itself, an armored block"),
    "file": Path(help="A file on the host that holds the key"),
    "keyserver": Str(help="The server that is asked for the key by its id"),
    "keyring": Path(help="The one file to look into and to keep the key in, instead of a file of its own"),
    "state": Choice("present", "absent", default="present", help="Whether the key is trusted"),
    "validate_certs": Bool(default=True, help="Believe an https server only with a certificate that is valid"),
}
CHECK = "exact"
KEYRING, KEYRINGS = "/etc/apt/trusted.gpg", "/etc/apt/trusted.gpg.d"
SOURCES = ("data", "file", "url", "keyserver")


def run(host: Host, params: Params) -> Dict[str, Any]:
    wanted = asked_for(host, params)
    keyrings = {path: keys_in(host, path) for path in files(host, params)}
    before = ids(keyrings)
    result: Dict[str, Any] = {"before": before}
    if params.state == "absent":
        remove(host, keyrings, wanted)
    elif not wanted or not holds(keyrings, wanted):
        keys = fetched(host, params, wanted)
        wanted = wanted or keys[0].fingerprint
        missing = [key for key in keys if not holds(keyrings, key.fingerprint)]
        if missing:
            add(host, params, keyrings, missing)
    if host.changed:
        result["after"] = ids(keyrings)
    primary = next((key for keys in keyrings.values() for key in keys if key.has(wanted)), None)
    known = primary.fingerprint if primary and len(wanted) < 40 else wanted
    key_id = _openpgp.key_id(known) if len(known) >= 40 else known[-16:]
    return host.outcome(id=params.id or wanted, key_id=key_id, short_id=key_id[-8:], fp=known, **result)


def asked_for(host: Host, params: Params) -> str:
    """The id, in capitals; empty when none is given. Refuses what cannot be meant."""
    given = [name for name in SOURCES if params[name] is not None]
    if len(given) > 1:
        host.fail("%s and %s cannot be given together: a key comes from one place" % (given[0], given[1]))
    if params.id is None:
        if params.state == "absent" or params.keyserver:
            host.fail("id is missing: it says which key %s" % ("goes" if params.state == "absent" else "is asked for"))
        if not given:
            host.fail("nothing says where the key is: give url, data, file, or keyserver with id")
        return ""
    try:
        return _openpgp.normalised(params.id)
    except ValueError:
        host.fail("the id %s is no fingerprint: it has hexadecimal digits, perhaps after 0x" % params.id)


# --- the files ---


def files(host: Host, params: Params) -> Iterator[str]:
    """The files that apt trusts the keys of."""
    if params.keyring:
        yield host.expand(params.keyring)
        return
    if host.exists(KEYRING):
        yield KEYRING
    if host.is_directory(KEYRINGS):
        for name in host.names(KEYRINGS):
            if name.endswith((".gpg", ".asc")):
                yield os.path.join(KEYRINGS, name)


def keys_in(host: Host, path: str) -> List[Key]:
    try:
        data = host.read(path)
    except FileNotFoundError:
        return []
    try:
        return _openpgp.parse(data) if data else []
    except ValueError as problem:
        host.warn("%s is left alone: %s" % (path, problem))
        return []


def holds(keyrings: Dict[str, List[Key]], wanted: str) -> bool:
    return any(key.has(wanted) for keys in keyrings.values() for key in keys)


def ids(keyrings: Dict[str, List[Key]]) -> List[str]:
    return [key_id for keys in keyrings.values() for key in keys for key_id in key.ids]


def add(host: Host, params: Params, keyrings: Dict[str, List[Key]], keys: List[Key]) -> None:
    """Into the keyring that is named, else each key into a file of its own."""
    places: List[Tuple[str, List[Key]]] = [
        (os.path.join(KEYRINGS, key.fingerprint + ".gpg"), [key]) for key in keys
    ]  # fmt: skip
    if params.keyring:
        path = host.expand(params.keyring)
        places = [(path, keyrings[path] + keys)]
    for path, held in places:
        host.directory(os.path.dirname(path))
        keyrings[path] = held
        save(host, path, held)


def remove(host: Host, keyrings: Dict[str, List[Key]], wanted: str) -> None:
    for path, keys in keyrings.items():
        kept = [key for key in keys if not key.has(wanted)]
        if len(kept) == len(keys):
            continue
        keyrings[path] = kept
        if kept:
            save(host, path, kept)
        else:
            host.remove(path)


def save(host: Host, path: str, keys: List[Key]) -> None:
    data = b"".join(key.data for key in keys)
    # apt reads as whom it fetches with, so everybody may read keys.
    host.write(path, _openpgp.armored(data) if path.endswith(".asc") else data, mode=0o644)


# --- the key ---


def fetched(host: Host, params: Params, wanted: str) -> List[Key]:
    """The keys from where the task says, one of which must be the wanted one."""
    source, data = content(host, params, wanted)
    try:
        keys = _openpgp.parse(data)
    except ValueError as problem:
        host.fail("there is no key in %s: %s" % (source, problem), id=params.id)
    if wanted and not any(key.has(wanted) for key in keys):
        found = ", ".join(key.fingerprint for key in keys)
        host.fail("%s holds another key than the one asked for: %s, not %s" % (source, found, wanted), id=params.id)
    return keys


def content(host: Host, params: Params, wanted: str) -> Tuple[str, bytes]:
    """The source's name for messages, and what it gives."""
    if params.data is not None:
        return "data", params.data.encode("utf-8", "replace")
    if params.file is not None:
        path = host.expand(params.file)
        try:
            return path, host.read(path)
        except OSError as problem:
            host.fail("cannot read the key file %s: %s" % (path, problem.strerror), id=params.id)
    url: Optional[str] = params.url or (params.keyserver and lookup(params.keyserver, wanted))
    if url is None:
        host.fail("the key %s is not trusted yet, and nothing says where it is: give url, data, file or keyserver"
                  % wanted, id=params.id)  # fmt: skip
    try:
        return url, download.content(url, params.validate_certs)
    except web.Unreachable as problem:
        host.fail("cannot fetch the key from %s: %s" % (url, problem), id=params.id)


def lookup(server: str, wanted: str) -> str:
    """A key server's address for one key (draft-gallagher-openpgp-hkp); hkp is HTTP on port 11371."""
    scheme, separator, place = server.rpartition("://")
    place = place.rstrip("/")
    if scheme in ("hkp", "hkps") or not separator:
        is_secure = scheme == "hkps"
        if ":" not in place and not is_secure:
            place += ":11371"
        scheme = "https" if is_secure else "http"
    return "%s://%s/pks/lookup?op=get&options=mr&search=0x%s" % (scheme, place, wanted)
