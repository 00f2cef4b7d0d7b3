"""vault and unvault: texts encrypted as ansible-vault does, with a password that the playbook names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opsplay.documents import vault as format
from opsplay.documents.keyring import KEYRING
from opsplay.errors import TemplateError
from opsplay.templating.filters.text import as_text

# The vault id of what the filter encrypts, where it is given none.
LABEL = "filter_default"


def vault(
    value: Any, secret: Any, salt: Any = None, vault_id: str = LABEL, wrap_object: bool = False, vaultid: Any = None
) -> str:
    text = as_text(value, "vault")
    if wrap_object:
        raise TemplateError("vault: wrap_object is not supported", hint="write the text below a tag !vault yourself")
    if format.is_vault(text):
        raise TemplateError("vault: the text is encrypted already")
    own_salt = str(salt).encode() if salt is not None else None
    return format.encrypt(text.encode(), as_text(secret, "vault").encode(), str(vaultid or vault_id), own_salt)


def unvault(value: Any, secret: Any, vault_id: str = LABEL, vaultid: Any = None) -> str:
    """What a vault holds, masked in every output; a text that is no vault stays as it is."""
    text = as_text(value, "unvault")
    if not format.is_vault(text):
        return text
    try:
        found = format.decrypt(format.parse(text), as_text(secret, "unvault").encode()).decode()
    except format.MalformedVault as problem:
        raise TemplateError(f"unvault: {problem}") from problem
    except format.WrongPassword as problem:
        raise TemplateError("unvault: the text was encrypted with another password") from problem
    KEYRING.learn(found)
    return found


FILTERS: dict[str, Callable[..., Any]] = {"vault": vault, "unvault": unvault}
