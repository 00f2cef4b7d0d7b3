"""The checksum that a download must have: given by itself, or found in a file of checksums."""

from __future__ import annotations

from typing import Callable, List, Tuple

from opsplay.agent import files

HEX = frozenset("0123456789abcdef")


def expected(text: str, url: str, fetch: Callable[[str], str]) -> Tuple[str, str]:
    """The algorithm and the checksum of `algorithm:value` or `algorithm:URL`; empty ones for an empty text.

    `fetch` returns what a URL of checksums holds. Raises ValueError, and what `fetch` raises.
    """
    if not text:
        return "", ""
    algorithm, colon, value = text.partition(":")
    algorithm, value = algorithm.strip().lower(), value.strip()
    if not colon:
        raise ValueError("The checksum parameter has to be in format <algorithm>:<checksum>")
    if not available(algorithm):
        raise ValueError("checksum: there is no algorithm %r on this host" % algorithm)
    if "://" in value:
        return algorithm, listed(fetch(value), file_name(url), value)
    value = value.lower()
    if not is_hash(value):
        raise ValueError("The checksum format is invalid: %r is no hexadecimal number" % value)
    return algorithm, value


def available(*algorithms: str) -> Tuple[str, ...]:
    """Those algorithms that this host has, each once; one in FIPS mode has no md5."""
    found: List[str] = []
    for algorithm in algorithms:
        try:
            if algorithm and algorithm not in found:
                files.new_hash(algorithm, 0)
                found.append(algorithm)
        except ValueError:
            continue
    return tuple(found)


def is_hash(text: str) -> bool:
    return len(text) >= 8 and set(text) <= HEX


def file_name(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path).rpartition("/")[2]


def listed(text: str, name: str, where: str) -> str:
    """The checksum of a file of this name, in the forms of sha256sum and of BSD; or the only one, when it is alone.

    Raises ValueError when there is none.
    """
    alone = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 1 and is_hash(words[0].lower()):
            alone.append(words[0].lower())
        elif len(words) >= 2 and is_hash(words[0].lower()):
            # A star marks a file that was read as binary.
            if base_name(line.split(None, 1)[1].strip().lstrip("*")) == name:
                return words[0].lower()
        elif line.rstrip().rpartition(" = ")[0].endswith("(%s)" % name):
            return words[-1].lower()
    if len(alone) == 1:
        return alone[0]
    raise ValueError("Unable to find a checksum for file '%s' in '%s'" % (name, where))


def base_name(path: str) -> str:
    return path.rpartition("/")[2]
