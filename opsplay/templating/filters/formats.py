"""Filters between values and their texts: JSON, YAML, base64, hashes, UUIDs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from opsplay.errors import TemplateError

# Version 5 UUIDs of to_uuid are in this namespace, as Ansible's documentation of the filter says.
UUID_NAMESPACE = uuid.UUID("361E6D51-FAEC-444A-9079-341386DA8E2E")

# Options that Ansible knows and that mean nothing here: nothing is vaulted or marked unsafe in these values.
IGNORED = ("vault_to_text", "preprocess_unsafe")


def options_of(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in IGNORED}


def default_json(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def with_text_keys(value: Any) -> Any:
    """The same with keys as JSON writes them, so that they can be sorted whatever they are."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else default_key(key): with_text_keys(value[key]) for key in value}
    return [with_text_keys(item) for item in value] if isinstance(value, (list, tuple)) else value


def default_key(key: Any) -> str:
    return json.dumps(key) if key is None or isinstance(key, (bool, int, float)) else str(key)


def to_json(value: Any, indent: int | None = None, sort_keys: bool = False, **options: Any) -> str:
    value = with_text_keys(value) if sort_keys else value
    return json.dumps(value, indent=indent, sort_keys=sort_keys, default=default_json, **options_of(options))


def to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    return to_json(value, indent, sort_keys, separators=(",", ": "), **options)


def to_yaml(value: Any, default_flow_style: bool | None = None, **options: Any) -> str:
    import yaml

    from opsplay.documents.values import plain

    chosen = {"allow_unicode": True, **options_of(options)}
    text: str = yaml.safe_dump(plain(value), default_flow_style=default_flow_style, **chosen)
    # A lone scalar's end of document is no part of its text.
    return text if options.get("explicit_end") else text.removesuffix("...\n")


def to_nice_yaml(value: Any, indent: int = 4, **options: Any) -> str:
    return to_yaml(value, default_flow_style=False, indent=indent, **options)


def from_yaml(value: Any) -> Any:
    import yaml

    return None if value is None else yaml.safe_load(str(value))


def from_yaml_all(value: Any) -> Any:
    import yaml

    return [] if value is None else list(yaml.safe_load_all(str(value)))


def b64encode(value: Any, encoding: str = "utf-8") -> str:
    return base64.b64encode(str(value).encode(encoding, "surrogateescape")).decode("ascii")


def b64decode(value: Any, encoding: str = "utf-8") -> str:
    try:
        return base64.b64decode(str(value)).decode(encoding, "surrogateescape")
    except binascii.Error as problem:
        raise TemplateError(f"not base64: {problem}") from problem


def hash_of(value: Any, algorithm: str = "sha1") -> str:
    try:
        return hashlib.new(algorithm, str(value).encode("utf-8", "surrogateescape")).hexdigest()
    except ValueError as problem:
        raise TemplateError(f"hash: unknown algorithm {algorithm!r}") from problem


def to_uuid(value: Any, namespace: str | uuid.UUID = UUID_NAMESPACE) -> str:
    space = namespace if isinstance(namespace, uuid.UUID) else uuid.UUID(str(namespace))
    return str(uuid.uuid5(space, str(value)))


FILTERS: dict[str, Callable[..., Any]] = {
    "to_json": to_json,
    "to_nice_json": to_nice_json,
    "from_json": json.loads,
    "to_yaml": to_yaml,
    "to_nice_yaml": to_nice_yaml,
    "from_yaml": from_yaml,
    "from_yaml_all": from_yaml_all,
    "b64encode": b64encode,
    "b64decode": b64decode,
    "hash": hash_of,
    "md5": lambda value: hash_of(value, "md5"),
    "sha1": lambda value: hash_of(value, "sha1"),
    "checksum": lambda value: hash_of(value, "sha1"),
    "to_uuid": to_uuid,
}
