"""Secret values are known by registration and masked wherever an event is made, so that no sink can forget."""

from __future__ import annotations

import threading
from typing import Any

MASK = "********"

# Shorter values would blot out ordinary words, and protect nothing.
SHORTEST = 4


class Redactor:
    """The run's register of secret strings. Thread-safe; masks the longest match first."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def register(self, secret: str | None) -> None:
        """Remember a value (and its lines, when it has several) so that it is never shown."""
        if not secret:
            return
        # A line of little but blanks would blot out the indentation of other texts.
        lines = {line for line in secret.splitlines() if len(line.strip()) >= SHORTEST}
        found = {part for part in (secret, secret.strip(), *lines) if len(part) >= SHORTEST}
        with self._lock:
            merged = found.union(self._secrets)
            self._secrets = tuple(sorted(merged, key=lambda value: (-len(value), value)))

    def text(self, value: str) -> str:
        """The same text with every registered secret masked."""
        for secret in self._secrets:
            if secret in value:
                value = value.replace(secret, MASK)
        return value

    def clean(self, value: Any) -> Any:
        """The same structure of dicts, lists and scalars with every registered secret masked, keys included."""
        if not self._secrets:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.clean(key): self.clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(item) for item in value]
        return value


# What Ansible also hides of a `no_log` result: everything but how it ended.
VISIBLE_WHEN_CENSORED = ("changed", "failed", "skipped", "unreachable", "rc", "attempts")

CENSORED = "the output has been hidden because 'no_log: true' was set for this task"


def censor(data: Any) -> dict[str, Any]:
    """A `no_log` task's result as an event may show it."""
    kept = {key: data[key] for key in VISIBLE_WHEN_CENSORED if key in data}
    kept["censored"] = CENSORED
    return kept
