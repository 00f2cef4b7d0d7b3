"""Open the secrets that a play needs, and say at once all that are missing or worthless, before anything begins.

The store is a file of variables that is encrypted (`opsplay vault encrypt`), on the control side: it opens at a
recovery site without the primary one. Or it is an OpenBao or Vault server (`url`, `path`), which the control side asks.
Its values become variables of the host, masked in every output. Placeholders and passwords that everybody knows are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from opsplay.actions.base import ActionFailed, Answer, Control, Prepared, SetVariables
from opsplay.agent.spec import Bool, Int, List, Params, Str
from opsplay.documents.keyring import KEYRING
from opsplay.documents.variables import load_variables
from opsplay.errors import DocumentError

PARAMS = {
    "file": Str(help="The encrypted file, in the role's or playbook's vars, or beside the playbook"),
    "url": Str(help="A server of OpenBao or Vault, https://bao.example.org:8200"),
    "path": Str(default="", help="Where its secrets are in the key-value store (version 2): each key is a variable"),
    "mount": Str(default="secret", help="Where that store is mounted"),
    "namespace": Str(default="", help="The server's namespace"),
    "token": Str(default="", secret=True, help="A token that may read it; without one BAO_TOKEN or VAULT_TOKEN"),
    "role_id": Str(default="", help="A role of AppRole in its place"),
    "role_secret": Str(default="", secret=True, help="That role's secret id"),
    "ca_file": Str(default="", help="Certificates here that vouch for the server"),
    "timeout": Int(min=1, default=10, help="Seconds that the server is waited for"),
    "required": List(of=Str(), default=[], help="The secrets that have to be in it"),
    "min_length": Int(min=1, default=12, help="How many characters each of those must have"),
    "allow_plain": Bool(default=False, help="Take a file that is not encrypted"),
}
CHECK = "exact"
EXCLUSIVE = (("file", "url"), ("token", "role_id"))
MAGIC = b"$ANSIBLE_VAULT;"
# What is left in a file that was copied from an example, and what is tried first by whoever breaks in.
WORTHLESS = frozenset(
    ("admin", "administrator", "change-me", "change_me", "changeit", "changeme", "default", "dummy", "example",
     "letmein", "password", "passw0rd", "placeholder", "postgres", "qwertyuiop", "replaceme", "secret",
     "secretsecret", "test", "todo", "welcome", "your-secret-here", "xxxxxxxxxxxx")
)  # fmt: skip


def prepare(control: Control, params: Params) -> Prepared:
    if not params.file and not (params.url and params.path):
        raise ActionFailed("where are the secrets? Give file, or url and path")
    place, found = in_file(control, params) if params.file else on_server(params)
    problems = list(complaints(found, params))
    if problems:
        raise ActionFailed(f"{place}: {'; '.join(problems)}")
    return Answer({"changed": False, "names": sorted(map(str, found))}, SetVariables(found))


def in_file(control: Control, params: Params) -> tuple[str, Mapping[str, Any]]:
    """The file, and what it holds. Raises ActionFailed."""
    path = Path(control.find_file("vars", params.file))
    try:
        found = load_variables(path)
        encrypted = path.read_bytes()[: len(MAGIC)] == MAGIC
    except (DocumentError, OSError) as problem:
        raise ActionFailed(f"the secrets cannot be opened: {problem}") from problem
    if not encrypted and not params.allow_plain:
        raise ActionFailed(f"{path} is not encrypted; do so with `opsplay vault encrypt {path}`")
    return str(path), found


def on_server(params: Params) -> tuple[str, Mapping[str, Any]]:
    """The secret on a server, and its values, which are masked from now on. Raises ActionFailed."""
    from opsplay.actions import _openbao

    found = _openbao.read(params)
    KEYRING.learn(found)
    return f"{params.url} {params.mount}/{params.path}", found


def complaints(found: Mapping[str, Any], params: Params) -> Iterator[str]:
    """What is wrong with the secrets, by their names and never by their values."""
    missing = [name for name in params.required if found.get(name) in (None, "")]
    if missing:
        yield f"missing: {', '.join(missing)}"
    for name in params.required:
        value = found.get(name)
        if not isinstance(value, str) or name in missing:
            continue
        if value.strip().lower() in WORTHLESS:
            yield f"{name} is a placeholder or a password that everybody knows"
        elif len(value) < params.min_length:
            yield f"{name} has {len(value)} characters, at least {params.min_length} are wanted"
