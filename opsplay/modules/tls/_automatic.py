"""Renewals that certbot makes by itself: its timer, the CA that it trusts, and who reads the new certificate."""

from __future__ import annotations

from typing import Optional

from opsplay.agent.host import Host
from opsplay.modules.tls._renewal import CONFIG

HOOKS = CONFIG + "/renewal-hooks"
HOOK = HOOKS + "/deploy/reload-nginx"
SCRIPT = """#!/bin/sh
# Written by opsplay. An nginx that would refuse its files goes on with the old certificate, and certbot says why.
set -e
nginx -t -q
if systemctl --quiet is-active nginx; then systemctl reload nginx; fi
"""
TIMER = "certbot.timer"
BUNDLE = CONFIG + "/ca-bundle.pem"
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
DROP_IN_FOLDER = "/etc/systemd/system/certbot.service.d"
DROP_IN = DROP_IN_FOLDER + "/ca-bundle.conf"


def hook(host: Host) -> None:
    """A script that certbot runs after each renewal."""
    for folder in (CONFIG, HOOKS, HOOKS + "/deploy"):
        if not host.is_directory(folder):
            host.directory(folder, mode=0o755)
    host.write(HOOK, SCRIPT, mode=0o755)


def timer(host: Host, ca_file: Optional[str]) -> None:
    """See that the timer of Debian's package runs; a CA of one's own is trusted beside this host's."""
    if ca_file:
        trust(host, host.expand(ca_file))
    host.call("services.systemd", name=TIMER, enabled=True, state="started")


def trust(host: Host, path: str) -> None:
    """Let the timer's certbot trust this CA, too. Other certificates are from other CAs."""
    if not host.exists(path):
        if host.check:
            return
        host.fail("there is no ca_file %s" % path, path=path)
    if not host.knows(path):
        return
    shows, host.want_diff = host.want_diff, False
    try:
        both = (host.read(SYSTEM_BUNDLE) if host.exists(SYSTEM_BUNDLE) else b"") + host.read(path)
        if not host.is_directory(CONFIG):
            host.directory(CONFIG, mode=0o755)
        host.write(BUNDLE, both, mode=0o644)
    finally:
        host.want_diff = shows
    if not host.is_directory(DROP_IN_FOLDER):
        host.directory(DROP_IN_FOLDER, mode=0o755)
    if host.write(DROP_IN, "[Service]\nEnvironment=REQUESTS_CA_BUNDLE=%s\n" % BUNDLE, mode=0o644):
        host.call("services.systemd", daemon_reload=True)
