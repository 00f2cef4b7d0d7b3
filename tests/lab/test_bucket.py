"""A host whose only other place is a bucket: its backups go there, and come back on a blank host."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.certificates import make as certificate
from tests.lab.driver import ROOT, Driver, Outcome, wait_until
from tests.lab.quick_lab import QuickLab
from tests.lab.test_disaster import key
from tests.modules.s3server import Endpoint, Fault, Way, serving, way_to

pytestmark = pytest.mark.lab

# What a secret may be left in: command lines and environments, while it is used, and the disk.
PROCESSES = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -cF -f /root/words; true"
DISK = "grep -rlF -f /root/words /etc /root /home /var /tmp /run /srv /opt 2>/dev/null | grep -v ^/root/words; true"


@dataclass
class Site:
    """A host that makes backups, a blank one, a bucket behind TLS, and how the playbooks reach it."""

    lab: Lab
    driver: Driver
    endpoint: Endpoint
    way: Way
    values: dict[str, Any]

    def run(self, playbook: str, *words: str, **values: Any) -> Outcome:
        (self.driver.directory / "vars.json").write_text(json.dumps({**self.values, **values}))
        more = ["-i", str(self.driver.directory / "groups.ini"), "-e", f"@{self.driver.directory}/vars.json"]
        return self.driver.run(ROOT / f"playbooks/{playbook}.yml", *more, *words, timeout=240)

    def secrets(self) -> list[str]:
        return [pair["secret_key"] for pair in self.endpoint.keys.values()]

    def left(self, host: LabHost) -> str:
        """Files of a host that hold a secret."""
        host.run(["sh", "-c", "cat > /root/words"], stdin="\n".join(self.secrets()) + "\n")
        return host.run(DISK).stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    folder = tmp_path_factory.mktemp("bucket")
    ca = certificate("our CA", ca=True)
    server = certificate("s3.test", ["*.s3.test"], ca)
    (folder / "cert").write_text(server.pem)
    (folder / "key").write_text(server.key_pem)
    with QuickLab("bucket") as lab:
        lab.up({name: HostSpec(release="bookworm", image="full") for name in ("app1", "dr1")})
        gateway = lab.hosts["app1"].address.rpartition(".")[0] + ".1"
        for host in lab.hosts.values():
            host.run(f"echo {gateway} backups.s3.test >> /etc/hosts")
            host.run(["sh", "-c", "cat > /etc/ssl/our-ca.pem"], stdin=ca.pem)
        with serving(gateway) as endpoint, way_to(endpoint, folder / "cert", folder / "key") as way:
            driver = Driver(folder, lab)
            (folder / "groups.ini").write_text("[service]\napp1\n[dr]\ndr1\n")
            secret, public = key(folder, "opens")
            read, append = endpoint.keys["read"], endpoint.keys["append"]
            values = {
                "backup_name": "app", "backup_archives": {"config": {"paths": ["/etc/app"]}},
                "backup_encrypt": {"method": "age", "recipients": [public]}, "dr_key": secret,
                "offsite_bucket": "backups", "offsite_endpoint": f"https://s3.test:{way.server_address[1]}",
                "offsite_addressing": "virtual", "offsite_ca_file": "/etc/ssl/our-ca.pem", "offsite_prefix": "site-a",
                "offsite_part_size": 5, "offsite_access_key": append["access_key"],
                "offsite_secret_key": append["secret_key"], "dr_store_access_key": read["access_key"],
                "dr_store_secret_key": read["secret_key"], "dr_folder": str(folder / "recovery"), "dr_soak": 1,
                "dr_min_memory_mb": 100, "dr_min_cores": 1, "dr_min_disk_gb": 1,
                "dr_checks": [{"name": "Its file", "file_age": {"path": "/etc/app/large"}}],
            }  # fmt: skip
            yield Site(lab, driver, endpoint, way, values)


def test_a_service_comes_back_from_a_bucket(site: Site) -> None:
    app, dr = site.lab.hosts["app1"], site.lab.hosts["dr1"]
    app.run("mkdir -p /etc/app; echo kept > /etc/app/small; head -c 12000000 /dev/urandom > /etc/app/large")
    preview = site.run("full_backup", "--check")
    assert preview.code == 0 and site.endpoint.names("backups") == [], preview.out
    looked = threading.Event()
    site.way.faults = [Fault("", "PUT", "partNumber=2", act=lambda: looked.wait(50))]
    app.run(["sh", "-c", "cat > /root/words"], stdin="\n".join(site.secrets()) + "\n")
    done: list[Outcome] = []
    running = threading.Thread(target=lambda: done.append(site.run("full_backup", "-v", "--diff")))
    running.start()
    wait_until(lambda: not site.way.faults[0].times, 120, "the second part is on its way")
    shown = app.run(PROCESSES).stdout
    looked.set()
    running.join(240)
    assert shown == "0\n", "a secret is in a command line or an environment"
    assert done[0].code == 0, done[0].out
    names = site.endpoint.names("backups")
    assert [name.rpartition("/")[2] for name in names] == ["config.tar.age", "manifest.json", "manifest.json.sig"]
    assert site.way.count("PUT", "partNumber=") == 3 and site.left(app) == ""
    again = site.run("offsite_sync")
    assert again.code == 0 and not again.changed(), again.out
    content = app.run("cat /etc/app/* | sha256sum").stdout
    site.lab.down(["app1"])
    back = site.run("disaster_recover", "-v", "--diff")
    assert back.code == 0, back.out
    assert dr.run("cat /etc/app/* | sha256sum").stdout == content and site.left(dr) == ""
    for said in (preview, done[0], back):
        assert not any(secret in said.out + said.err + json.dumps(said.events) for secret in site.secrets())
    assert site.run("disaster_recover").code == 0
