"""Open the secrets that a play needs, and say at once all that are missing or worthless, before anything begins.

The store is a file of variables that is encrypted (`opsplay vault encrypt`), on the control side: it opens at a
recovery site without the primary one. Its values become variables of the host, masked in every output. Placeholders and
passwords that everybody knows are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from opsplay.actions.base import ActionFailed, Answer, Control, Prepared, SetVariables
from opsplay.agent.spec import Bool, Int, List, Params, Str
from opsplay.documents.variables import load_variables
from opsplay.errors import DocumentError

PARAMS = {
    "file": Str(required=True, help="The encrypted file, in the role's or playbook's vars, or beside the playbook"),
    "required": List(of=Str(), default=[], help="The secrets that have to be in it"),
    "min_length": Int(min=1, default=12, help="How many characters each of those must have"),
    "allow_plain": Bool(default=False, help="Take a file that is not encrypted"),
}
CHECK = "exact"
MAGIC = b"$ANSIBLE_VAULT;"
# What is left in a file that was copied from an example, and what is tried first by whoever breaks in.
WORTHLESS = frozenset(
    ("admin", "administrator", "change-me", "change_me", "changeit", "changeme", "default", "dummy", "example",
     "letmein", "password", "passw0rd", "placeholder", "postgres", "qwertyuiop", "replaceme", "secret",
     "secretsecret", "test", "todo", "welcome", "your-secret-here", "xxxxxxxxxxxx")
)  # fmt: skip


def prepare(control: Control, params: Params) -> Prepared:
    path = Path(control.find_file("vars", params.file))
    try:
        found = load_variables(path)
        encrypted = path.read_bytes()[: len(MAGIC)] == MAGIC
    except (DocumentError, OSError) as problem:
        raise ActionFailed(f"the secrets cannot be opened: {problem}") from problem
    if not encrypted and not params.allow_plain:
        raise ActionFailed(f"{path} is not encrypted; do so with `opsplay vault encrypt {path}`")
    problems = list(complaints(found, params))
    if problems:
        raise ActionFailed(f"{path}: {'; '.join(problems)}")
    return Answer({"changed": False, "names": sorted(map(str, found))}, SetVariables(found))


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
