"""Secrets of an OpenBao or Vault server: its key-value store of version 2, asked through hvac."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opsplay.actions.base import ActionFailed
from opsplay.agent.spec import Params

# As the programs `bao` and `vault` take them.
TOKENS = ("BAO_TOKEN", "VAULT_TOKEN")


def read(params: Params) -> Mapping[str, Any]:
    """The newest version of the secret at `path`. Raises ActionFailed, which names neither token nor value."""
    try:
        import hvac
    except ImportError:
        raise ActionFailed("secrets of OpenBao need hvac; install it with `pip install 'opsplay[openbao]'`") from None
    verify = os.path.expanduser(params.ca_file) if params.ca_file else True
    client = hvac.Client(params.url, "", verify=verify, timeout=params.timeout, namespace=params.namespace or None)
    try:
        with _explained(params):
            client.token = _token(client, params)
            store = client.secrets.kv.v2
            answer = store.read_secret_version(params.path, mount_point=params.mount, raise_on_deleted_version=True)
    finally:
        client.adapter.close()
    values = ((answer or {}).get("data") or {}).get("data")
    if not isinstance(values, Mapping):
        raise ActionFailed(f"{params.url} answers, but not as a key-value store of version 2: look at mount")
    return values


def _token(client: Any, params: Params) -> str:
    """The token that is given, or the one that a role's login gives."""
    if params.role_id:
        login = client.auth.approle.login(params.role_id, params.role_secret or None, use_token=False)
        return str(login["auth"]["client_token"])
    found = params.token or next((os.environ[name] for name in TOKENS if os.environ.get(name)), "")
    if not found:
        raise ActionFailed(f"no token for {params.url}: give token, or role_id, or set {TOKENS[0]}")
    return str(found)


@contextmanager
def _explained(params: Params) -> Iterator[None]:
    """What goes wrong, in words that say what to do. Raises ActionFailed."""
    from hvac import exceptions
    from requests import exceptions as transport

    where = f"{params.mount}/{params.path}"
    try:
        yield
    except exceptions.InvalidPath:
        text = f"{params.url} has no secret {where}, or its newest version was deleted"
        raise ActionFailed(text) from None
    except exceptions.Forbidden:
        text = f"{params.url} does not let this token read {where}: it has expired, or its policy lacks the path"
        raise ActionFailed(text) from None
    except exceptions.VaultDown as problem:
        sealed = any("sealed" in str(said) for said in problem.errors or ())
        raise ActionFailed(f"{params.url} {'is sealed: unseal it' if sealed else 'is not in service'}") from None
    except exceptions.VaultError as problem:
        said = "; ".join(map(str, problem.errors or ())) or str(problem).splitlines()[0]
        raise ActionFailed(f"{params.url} refuses {where}: {said}") from None
    except transport.SSLError:
        text = f"{params.url} has a certificate that nobody vouches for; give ca_file"
        raise ActionFailed(text) from None
    except transport.RequestException:
        text = f"{params.url} cannot be reached; a store that has to open at a recovery site is a file (`file`)"
        raise ActionFailed(text) from None
