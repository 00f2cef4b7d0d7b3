"""The text of unit files: made from data, read back, and hardened (systemd.syntax(7), systemd.exec(5))."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# What a unit's name may consist of (systemd.unit(5)).
NAME_SIGNS = frozenset(LETTERS + "0123456789:-_.\\@")
INSTALLS = ("WantedBy", "RequiredBy", "UpheldBy", "Alias", "Also")
_PRIVILEGED = "CAP_SYS_ADMIN CAP_SYS_PTRACE CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_BOOT CAP_SYS_TIME CAP_SYSLOG CAP_MKNOD"
# Key, value, and the systemd that first knew it. Each is described in systemd.exec(5).
BASIC = (
    ("NoNewPrivileges", "yes", 187),
    ("ProtectSystem", "full", 214),
    ("ProtectHome", "read-only", 214),
    ("PrivateTmp", "yes", 183),
    ("ProtectKernelTunables", "yes", 232),
    ("ProtectKernelModules", "yes", 232),
    ("ProtectKernelLogs", "yes", 244),
    ("ProtectControlGroups", "yes", 232),
    ("ProtectClock", "yes", 245),
    ("ProtectHostname", "yes", 242),
    ("RestrictSUIDSGID", "yes", 242),
    ("RestrictRealtime", "yes", 231),
    ("LockPersonality", "yes", 235),
)
STRICT = (
    ("ProtectSystem", "strict", 232),
    ("ProtectHome", "yes", 214),
    ("PrivateDevices", "yes", 209),
    ("ProtectProc", "invisible", 247),
    ("RestrictNamespaces", "yes", 233),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6", 211),
    ("MemoryDenyWriteExecute", "yes", 231),
    ("SystemCallArchitectures", "native", 209),
    ("SystemCallFilter", "@system-service", 239),
    ("SystemCallErrorNumber", "EPERM", 209),
    ("CapabilityBoundingSet", "~" + _PRIVILEGED, 183),
    ("UMask", "0077", 183),
    ("RemoveIPC", "yes", 232),
)


def wrong_name(unit: str) -> str:
    """Why a unit cannot bear this name (suffix included); empty when it can."""
    odd = sorted(set(unit) - NAME_SIGNS)
    if odd:
        return "a unit's name cannot hold %s; `systemd-escape` shows how to write it" % ", ".join(map(repr, odd))
    if len(unit) > 255 or unit[0] in ".@":
        return "a unit's name has at most 255 signs and begins with neither a full stop nor @"
    if unit.endswith((".device", ".scope")):
        return "devices and scopes are made by programs, not by unit files"
    return ""


def rendered(sections: Dict[str, Dict[str, Any]]) -> str:
    """The text of sections. Raises ValueError with the key that cannot be written."""
    parts = []
    for name, keys in sections.items():
        if not name or set(name) & set("[]\n\r") or name != name.strip():
            raise ValueError("%r cannot name a section; one is called Unit, Service, Install, Timer and so on" % name)
        lines = ["[%s]" % name]
        for key, value in keys.items():
            if not key or set(key) - set(LETTERS + "0123456789-_"):
                raise ValueError("%s: %r cannot be a key: letters, digits and dashes only" % (name, key))
            values = value if isinstance(value, (list, tuple)) else [value]
            lines += ["%s=%s" % (key, _written(name, key, one)) for one in values]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _written(section: str, key: str, value: Any) -> str:
    """A value as systemd reads it; whatever would become a second line is refused."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (dict, list, tuple)) or value is None:
        what = "nothing" if value is None else "a structure"
        raise ValueError('%s.%s is %s: give a text, a number, a list of them, or "" to reset it' % (section, key, what))
    text = str(value).strip()
    if set(text) & set("\n\r\0"):
        raise ValueError("%s.%s holds a line break: give a list for several values, or write content" % (section, key))
    if text.endswith("\\"):
        raise ValueError("%s.%s ends with a backslash, which would join it with the next line" % (section, key))
    return text


def entries(text: str) -> List[Tuple[str, str, str]]:
    """Each setting of a unit file: section, key, value; continued lines are joined, comments left out."""
    found = []
    section, held = "", ""
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped[:1] in ("#", ";") or (not stripped and not held):
            # A comment amidst a continued line is passed over.
            continue
        whole = held + stripped
        if whole.endswith("\\"):
            held = whole[:-1] + " "
            continue
        held = ""
        if whole.startswith("[") and whole.endswith("]"):
            section = whole[1:-1]
        elif "=" in whole:
            key, _, value = whole.partition("=")
            found.append((section, key.strip(), value.strip()))
    return found


def values(text: str, section: str, key: str) -> List[str]:
    """What a key is set to; an empty value forgets those before it."""
    found: List[str] = []
    for where, name, value in entries(text):
        if (where, name) == (section, key):
            found = found + [value] if value else []
    return found


def last(text: str, section: str, key: str) -> Optional[str]:
    """The value that counts of a key that has one; None when it is not set."""
    found = values(text, section, key)
    return found[-1] if found else None


def installs(text: str) -> List[Tuple[str, str, str]]:
    """What the file says of how it is enabled."""
    return [entry for entry in entries(text) if entry[0] == "Install" and entry[1] in INSTALLS]


def hardened(level: Optional[str], known: str, version: int) -> Dict[str, str]:
    """The options of a level (basic, strict) that this systemd knows and that the text `known` does not set itself."""
    if level is None:
        return {}
    options = {key: value for key, value, since in BASIC if since <= version}
    if level == "strict":
        options.update((key, value) for key, value, since in STRICT if since <= version)
    own = {key for section, key, _ in entries(known) if section == "Service"}
    return {key: value for key, value in options.items() if key not in own}
