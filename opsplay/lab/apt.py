"""How this machine reaches its packages, so that images are built, and hosts work, in the same way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from opsplay.lab.programs import call

FALLBACK = "http://deb.debian.org/debian"
SECURITY_FALLBACK = "http://deb.debian.org/debian-security"
RELEASES = ("bullseye", "bookworm", "trixie")
_SUITES = (*RELEASES, "oldoldstable", "oldstable", "stable", "testing")

# What decides whether a download works; the rest of apt's configuration is the host's own affair.
_NETWORK_OPTIONS = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::ForceIPv", "Acquire::Retries")
# These name a program or a key on this machine.
_LOCAL_OPTIONS = re.compile(r"Proxy-?Auto-?Detect|Ssl(Cert|Key)|CrlFile", re.IGNORECASE)
_CERTIFICATES = Path("/usr/local/share/ca-certificates")


@dataclass(frozen=True)
class Source:
    """A package archive in apt's sources: where it is, and for which suite."""

    uri: str
    suite: str


def sources(release: str, directory: Path = Path("/etc/apt")) -> list[str]:
    """The lines of a sources.list for a Debian release, from the mirrors that this machine's apt uses."""
    archive, security = FALLBACK, SECURITY_FALLBACK
    for source in _machine_sources(directory):
        # Many vendors' archives have a suite `bookworm`; only Debian's own has `bookworm-updates`.
        if source.suite in {f"{suite}-updates" for suite in _SUITES}:
            archive = source.uri
        elif source.suite in {f"{suite}-security" for suite in _SUITES}:
            security = source.uri
    return [
        f"deb {archive} {release} main",
        f"deb {archive} {release}-updates main",
        f"deb {security} {release}-security main",
    ]


def configuration(gateway: str | None = None) -> list[str]:
    """The lines of an apt.conf with this machine's proxies and download settings.

    With a gateway, a proxy on this machine's loopback is reached there instead, as a host would have to.
    """
    dump = call(["apt-config", "dump"], check=False).stdout.splitlines()
    lines = [line for line in dump if line.startswith(_NETWORK_OPTIONS) and not _LOCAL_OPTIONS.search(line)]
    for scheme in ("http", "https"):
        proxy = os.environ.get(f"{scheme}_proxy")
        if proxy and not any(line.startswith(f"Acquire::{scheme}::Proxy ") for line in lines):
            lines.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    if gateway is None:
        return lines
    return [re.sub(r"//(127\.0\.0\.1|localhost|\[::1\])(?=[:/\"])", f"//{gateway}", line) for line in lines]


def certificates() -> dict[str, str]:
    """The certificate authorities that this machine's admin added, by file name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_CERTIFICATES.glob("*.crt"))}


def _machine_sources(directory: Path) -> Iterator[Source]:
    for path in [directory / "sources.list", *sorted(directory.glob("sources.list.d/*"))]:
        # sources.list(5): other suffixes are ignored, and so are switched off.
        if path.is_file() and path.suffix in (".list", ".sources"):
            text = re.sub(r"^\s*#.*\n?", "", path.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE)
            found = _deb822(text) if path.suffix == ".sources" else _one_line(text)
            yield from (source for source in found if source.uri.startswith(("http://", "https://")))


def _one_line(text: str) -> Iterator[Source]:
    for match in re.finditer(r"^\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE):
        yield Source(match[1].rstrip("/"), match[2])


def _deb822(text: str) -> Iterator[Source]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = {
            match[1].lower(): match[2].split()
            for match in re.finditer(r"^([\w-]+):((?:.*(?:\n[ \t]+\S.*)*))", stanza, re.MULTILINE)
        }
        if fields.get("enabled") == ["no"] or "deb" not in fields.get("types", []):
            continue
        for uri in fields.get("uris", []):
            yield from (Source(uri.rstrip("/"), suite) for suite in fields.get("suites", []))
