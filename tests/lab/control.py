"""opsplay itself on a lab host, at the same path as here: so that what runs from timers runs where timers are."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from opsplay.lab import LabHost
from tests.lab.driver import ROOT, wait_until

SITE = Path(sysconfig.get_paths()["purelib"])
# What opsplay does not need to run.
LEFT = (
    "mypy*",
    "*__mypyc*",
    "pip*",
    "hypothesis*",
    "setuptools*",
    "_pytest",
    "pytest*",
    "ruff*",
    "vermin*",
)
SINK = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open("/srv/told", "ab") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words): pass
http.server.HTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
"""
# Tells the sink which job has failed, as `backup_schedule_alert`.
ALERT = ["/usr/bin/curl", "--silent", "--data", "%i has failed", "http://127.0.0.1:8099/"]


def install(host: LabHost) -> list[str]:
    """Bring opsplay, its playbooks and what it imports, and start the sink. The words that start opsplay there."""
    minor = host.run(["python3", "-c", "import sys; print(*sys.version_info[:2])"]).stdout.split()
    assert minor == [str(part) for part in sys.version_info[:2]], "compiled packages fit this version of Python only"
    bring(host, SITE, *LEFT)
    for name in ("opsplay", "playbooks", "templates"):
        bring(host, ROOT / name)
    host.run(["systemd-run", "--quiet", "--collect", "--unit=sink", "python3", "-c", SINK])
    wait_until(
        lambda: host.run("curl -s --data up http://127.0.0.1:8099/", check=False).returncode == 0, 20, "the sink"
    )
    host.run("rm /srv/told")
    return ["/usr/bin/env", "HOME=/root", f"PYTHONPATH={ROOT}:{SITE}", "/usr/bin/python3", "-m", "opsplay"]


def bring(host: LabHost, source: Path, *but: str) -> None:
    """Copy a folder to the same path there."""
    left = shutil.ignore_patterns("__pycache__", *but)
    shutil.copytree(source, host.root / str(source).lstrip("/"), ignore=left, dirs_exist_ok=True, symlinks=True)


def told(host: LabHost) -> list[str]:
    """What the sink has been told."""
    return host.run("cat /srv/told", check=False).stdout.splitlines()
