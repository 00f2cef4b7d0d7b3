"""The demo site on real hosts: predicted, made, unchanged the second time, confirmed by testinfra."""

from __future__ import annotations

import pytest
import testinfra

from opsplay.lab import Lab
from tests.lab.driver import ROOT, Driver

pytestmark = pytest.mark.lab

SITE = ROOT / "playbooks" / "site.yml"


def connect(lab: Lab, name: str) -> testinfra.host.Host:
    host = lab.hosts[name]
    options = f"-o UserKnownHostsFile={lab.known_hosts}"
    return testinfra.get_host(
        f"ssh://root@{host.address}", ssh_identity_file=str(lab.private_key), ssh_extra_args=options
    )


def test_site(driver: Driver, lab: Lab) -> None:
    predicted = driver.run(SITE, "--check")
    assert predicted.code == 0, predicted.out + predicted.err
    assert lab.hosts["web1"].run("test -e /srv/www", check=False).returncode != 0, "check mode changes nothing"

    first = driver.run(SITE, "--diff", timeout=300)
    assert first.code == 0, first.out + first.err
    assert first.changed() == predicted.changed(), "the run does exactly what the preview said"
    assert len(first.changed()) > 20

    second = driver.run(SITE)
    assert second.code == 0
    assert second.changed() == set()
    assert {second.recap(host)["changed"] for host in lab.hosts} == {0}
    _confirm(lab)


def _confirm(lab: Lab) -> None:
    """What an outside tool sees."""
    for name in lab.hosts:
        host = connect(lab, name)
        assert host.group("site").exists
        assert "site" in host.user("alice").groups and host.user("bob").shell == "/bin/bash"
        assert host.package("tree").is_installed and host.package("jq").is_installed
        assert host.file("/etc/motd").contains(f"^{name} ")
        assert host.file("/etc/motd").mode == 0o644
    for name in ("web1", "web2"):
        web = connect(lab, name)
        assert web.service("nginx").is_running and web.service("nginx").is_enabled
        assert web.file("/etc/nginx/sites-enabled/demo.conf").linked_to == "/etc/nginx/sites-available/demo.conf"
        root = web.file("/srv/www/demo")
        assert (root.user, root.group, root.mode) == ("root", "site", 0o2775)
        assert f"Served by {name}" in web.check_output("curl -s -H 'Host: demo.example' http://127.0.0.1/")
    database = connect(lab, "db1")
    assert database.service("heartbeat").is_running and database.service("heartbeat").is_enabled
    assert database.file("/var/lib/heartbeat/last").user == "heartbeat"
