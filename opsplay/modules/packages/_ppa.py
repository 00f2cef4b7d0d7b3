"""Personal package archives of Launchpad: their address, and the key that signs them."""

from __future__ import annotations

from opsplay.agent import download, web
from opsplay.agent.distribution import os_release
from opsplay.agent.host import Host
from opsplay.modules.packages import _openpgp

ARCHIVE = "https://ppa.launchpadcontent.net/%s/%s/ubuntu"
DESCRIPTION = "https://api.launchpad.net/1.0/~%s/+archive/ubuntu/%s"
KEY = "https://keyserver.ubuntu.com/pks/lookup?op=get&options=mr&search=0x%s"
KEYRINGS = "/etc/apt/trusted.gpg.d"


def source_of(host: Host, name: str, codename: str) -> str:
    """The one-line source of ppa:OWNER or ppa:OWNER/NAME, for this distribution or the one of `codename`."""
    owner, _, archive = name[len("ppa:") :].partition("/")
    release = os_release()
    if not codename and release.get("ID") != "ubuntu":
        host.fail("%s is for Ubuntu, and this is %s; give codename, the Ubuntu release to take packages of"
                  % (name, release.get("NAME", "another distribution")))  # fmt: skip
    codename = codename or release.get("VERSION_CODENAME", "")
    return "deb %s %s main" % (ARCHIVE % (owner, archive or "ppa"), codename)


def trust(host: Host, name: str, verify: bool) -> None:
    """Let apt trust the archive's key, named by Launchpad and fetched from Ubuntu's key server."""
    import json

    owner, _, archive = name[len("ppa:") :].partition("/")
    try:
        described = json.loads(download.content(DESCRIPTION % (owner, archive or "ppa"), verify).decode())
        fingerprint = _openpgp.normalised(described["signing_key_fingerprint"])
        keys = _openpgp.parse(download.content(KEY % fingerprint, verify))
    except (web.Unreachable, ValueError, KeyError, TypeError) as problem:
        host.fail("%s cannot be used: Launchpad does not give its key: %s; add the repository's own line instead"
                  % (name, problem))  # fmt: skip
    if not any(key.fingerprint == fingerprint for key in keys):
        host.fail("%s cannot be used: the key server gives another key than %s" % (name, fingerprint))
    host.write("%s/%s.gpg" % (KEYRINGS, fingerprint), b"".join(key.data for key in keys), mode=0o644)
