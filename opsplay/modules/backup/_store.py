"""What a place for backups elsewhere offers, whatever it speaks, and how it says no."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Optional

from opsplay.agent import backups


class StoreError(Exception):
    """The far end refused, or cannot be reached: `str()` says why."""


class Store:
    """An open way to a store: `with SshStore(host, params) as store: store.put("app/…/app.dump", path, …)`.

    Paths are NAME/STAMP/FILE. Each method raises StoreError, and OSError for a file of this host.
    """

    # What messages and differences call it.
    place = ""

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exc: Any) -> None:
        pass

    def sets(self, name: str) -> List[Dict[str, Any]]:
        """Stamp and manifest of each whole set of one name, oldest first."""
        raise NotImplementedError

    def put(self, path: str, source: str, sha256: str, size: int, told: Callable[[int], None]) -> bool:
        """Send a file, unless something bears its name there: that is left as it is. Returns whether it was sent.

        `told` is called with the number of bytes of the file that are over there.
        """
        raise NotImplementedError

    def prove(self, path: str, source: str, sha256: str, size: int) -> None:
        """Have the far end say from what it has stored that it is this file. Raises StoreError where it is not."""
        raise NotImplementedError

    def digest(self, path: str) -> Optional[str]:
        """The sha256 of a small file as the far end has stored it; None when it is not there."""
        raise NotImplementedError

    def get(self, path: str) -> Iterator[bytes]:
        """A file's content in pieces."""
        raise NotImplementedError


def begun_at(manifest: Dict[str, Any]) -> Optional[float]:
    """When a backup was begun, in seconds since 1970: that is the state it holds. None without a readable time."""
    try:
        return backups.seconds_of(manifest["started"])
    except (KeyError, ValueError, TypeError):
        return None
