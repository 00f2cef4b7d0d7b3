"""Say where apt takes packages from, in a deb822 file of its own."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent import download, web
from opsplay.agent.host import Host
from opsplay.agent.permissions import describe
from opsplay.agent.spec import Bool, Choice, Int, Mode, Params, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.packages import _openpgp

PARAMS = {
    "name": Str(required=True, help="The repository's name, by which its files are called, too"),
    "allow_downgrade_to_insecure": Bool(help="Let it go on without a signature that it once had"),
    "allow_insecure": Bool(help="Use it without a signature"),
    "allow_weak": Bool(help="Accept weak algorithms in its signature"),
    "architectures": ListOf(of=Str(), help="The architectures to use of it"),
    "by_hash": Bool(help="Fetch its indexes by their hash"),
    "check_date": Bool(help="Refuse a Release file that is from the future"),
    "check_valid_until": Bool(help="Refuse a Release file that is too old"),
    "components": ListOf(of=Str(), help="Its components, e.g. main"),
    "date_max_future": Int(help="How far from the future its Release file may be, in seconds"),
    "enabled": Bool(help="Whether apt uses it"),
    "inrelease_path": Str(help="Where its InRelease file is, as a relative path"),
    "languages": ListOf(of=Str(), help="The languages of which translations are fetched"),
    "mode": Mode(default=0o644, help="The permission bits of its files"),
    "pdiffs": Bool(help="Fetch differences of indexes instead of whole ones"),
    "signed_by": Str(help="Who signs it: a key's address, a file, fingerprints, or an armored block"),
    "suites": ListOf(of=Str(), help="Its suites, e.g. bookworm; or paths that end with a slash"),
    "targets": ListOf(of=Str(), help="Which kinds of files are fetched"),
    "trusted": Bool(help="Trust it whatever its signature says"),
    "types": ListOf(of=Choice("deb", "deb-src"), default=["deb"], help="deb for packages, deb-src for their sources"),
    "uris": ListOf(of=Str(), help="Its addresses"),
    "state": Choice("present", "absent", default="present", help="Whether the file is there"),
    "install_python_debian": Bool(default=False, help="Accepted for Ansible's sake: nothing has to be installed"),
}
CHECK = "exact"
FOLDER, KEYRINGS = "/etc/apt/sources.list.d", "/etc/apt/keyrings"
# Fields whose names are not made of the parameter's words; apt does not tell small letters from capitals.
NAMES = {"name": "X-Repolib-Name", "uris": "URIs"}
NOT_FIELDS = ("mode", "state", "install_python_debian")


def run(host: Host, params: Params) -> Dict[str, Any]:
    name = file_name(params.name)
    if not name:
        host.fail("the name %r has no letter or digit that a file can be called by" % params.name)
    path = "%s/%s.sources" % (FOLDER, name)
    if params.state == "absent":
        host.remove(path)
        keys = ["%s/%s%s" % (KEYRINGS, name, ending) for ending in (".asc", ".gpg")]
        for key in keys:
            host.remove(key)
        return host.outcome(repo=None, dest=path, key_filename=keys[-1])
    signed_by, key_path = signature(host, params, name)
    text = stanza(params, signed_by)
    host.write(path, text, mode=params.mode)
    return host.outcome(repo=text, dest=path, key_filename=key_path, **describe(host, path))


def file_name(name: str) -> str:
    """The name in small letters, blanks and underscores as dashes, without other signs."""
    text = "-".join(name.lower().replace("_", " ").split())
    return "".join(char for char in text if char in "abcdefghijklmnopqrstuvwxyz0123456789-")


def stanza(params: Params, signed_by: Optional[str]) -> str:
    """The file's text: the fields in the order of the parameters' names."""
    values: Dict[str, Any] = dict(params, signed_by=signed_by)
    lines = []
    for key in sorted(key for key in PARAMS if key not in NOT_FIELDS and values[key] is not None):
        field = NAMES.get(key) or "-".join(word.capitalize() for word in key.split("_"))
        # A block begins on a line of its own.
        lines.append(("%s: %s" % (field, written(values[key]))).replace(": \n", ":\n"))
    return "\n".join(lines) + "\n"


def written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(value)
    return str(value)


def signature(host: Host, params: Params, name: str) -> Tuple[Optional[str], Optional[str]]:
    """What the field Signed-By says, and the key's file. A key that has an address is kept in a file of its own."""
    given = params.signed_by
    if given is None:
        return None, None
    if _openpgp.BEGIN in given:
        check(host, given.encode(), "signed_by")
        return block(given), None
    if given.startswith("/"):
        return given, given
    if "://" not in given:
        return given, None
    try:
        data = download.content(given)
    except web.Unreachable as problem:
        host.fail("cannot fetch the key from %s: %s" % (given, problem))
    check(host, data, given)
    ending = ".asc" if _openpgp.BEGIN.encode() in data else ".gpg"
    path = os.path.join(KEYRINGS, name + ending)
    host.directory(KEYRINGS, mode=0o755)
    host.write(path, data, mode=params.mode)
    return path, path


def check(host: Host, data: bytes, source: str) -> None:
    try:
        _openpgp.parse(data)
    except ValueError as problem:
        host.fail("there is no key in %s: %s" % (source, problem))


def block(text: str) -> str:
    """An armored block as a field of several lines: each begins with a blank, an empty one has a full stop."""
    lines: List[str] = [line.strip() or "." for line in text.strip().split("\n")]
    return "".join("\n    " + line for line in lines)
