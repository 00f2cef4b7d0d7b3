"""A service goes back to a set on its own host: all of it, parts of it, or nothing when something does not hold."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsplay.lab import HostSpec, Lab, LabHost
from tests.lab.driver import ROOT, Driver, Outcome
from tests.lab.quick_lab import QuickLab
from tests.lab.test_disaster import OTHER_HOST, PASSWORDS, key

pytestmark = pytest.mark.lab

PHRASE = "restore sample on app1"
MARK = """
set -e
runuser -u postgres -- psql -qX sample <<'SQL'
DELETE FROM totals WHERE source LIKE 'mark%'; INSERT INTO totals VALUES ('mark WORD', 7);
SQL
REDISCLI_AUTH=redis-pw-1 redis-cli set mark WORD >/dev/null
echo WORD > /var/lib/sample/mark; echo "# WORD" > /etc/sample/mark; chmod 640 /etc/sample/mark
"""
LOOK = """
runuser -u postgres -- psql -XAtc "SELECT source FROM totals WHERE source LIKE 'mark%'" sample
REDISCLI_AUTH=redis-pw-1 redis-cli get mark; cat /var/lib/sample/mark /etc/sample/mark; stat -c %a /etc/sample/mark
"""
MARKED = "mark {0}\n{0}\n{0}\n# {0}\n640\n"


class Service:
    """The host of a service, and its playbooks."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.host: LabHost = lab.hosts["app1"]
        self.driver = Driver(folder, lab)
        (folder / "groups.ini").write_text("[service]\napp1\n")
        self.key, public = key(folder, "opens")
        encrypt = {"method": "age", "recipients": [public]}
        self.values: dict[str, Any] = {**PASSWORDS, "backup_encrypt": encrypt, "offsite_required": False}
        for playbook in ("sample_service", "full_backup"):
            self.mark("old") if playbook == "full_backup" else None
            done = self.run(playbook)
            assert done.code == 0, done.out

    def run(self, playbook: str, *words: str, **values: Any) -> Outcome:
        more = ["-i", str(ROOT / "inventories/sample"), "-i", str(self.driver.directory / "groups.ini")]
        given = json.dumps({**self.values, **values})
        return self.driver.run(ROOT / f"playbooks/{playbook}.yml", *more, "-e", given, *words)

    def restore(self, *words: str, **values: Any) -> Outcome:
        return self.run("restore_full", *words, **{"backup_key": self.key, "confirm_restore": PHRASE, **values})

    def mark(self, word: str) -> None:
        self.host.run(MARK.replace("WORD", word))

    def look(self) -> str:
        return self.host.run(LOOK, check=False).stdout

    def sets(self) -> list[str]:
        return self.host.run("ls /var/backups/opsplay/sample").stdout.split()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("back") as lab:
        lab.up({"app1": HostSpec(release="bookworm", image="full")})
        yield Service(lab, tmp_path_factory.mktemp("back"))


def test_without_the_phrase_nothing_is_touched(service: Service) -> None:
    service.mark("new")
    before = service.sets()
    for given in ("", "restore sample on app2", "yes"):
        done = service.restore(confirm_restore=given)
        assert done.code == 2 and f"run with -e confirm_restore='{PHRASE}'" in done.out
    assert service.look() == MARKED.format("new") and service.sets() == before


def test_a_type_that_is_none_is_said(service: Service) -> None:
    done = service.restore(restore_type="everything")
    assert done.code == 2 and "restore_type is one of application_data, configuration, database, " in done.out


def test_a_preview_says_what_would_be_done_and_touches_nothing(service: Service) -> None:
    service.mark("new")
    before = service.sets()
    done = service.restore("--check", confirm_restore="")
    assert done.code == 0, done.out
    changed = {task for _, task in done.changed()}
    assert {"The state as it is, in a set of its own", "Files", "Databases", "Redis"} <= changed
    assert service.look() == MARKED.format("new") and service.sets() == before


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("configuration", "mark new\nnew\nnew\n# old\n640\n"),
        ("application_data", "mark new\nnew\nold\n# new\n640\n"),
        ("database", "mark old\nold\nnew\n# new\n640\n"),
        ("full", MARKED.format("old")),
    ],
)
def test_what_is_asked_for_goes_back(service: Service, kind: str, after: str) -> None:
    service.mark("new")
    before = service.sets()
    done = service.restore(restore_type=kind)
    assert done.code == 0, done.out
    assert service.look() == after
    assert len(service.sets()) == len(before) + 1, "the state from before is in a set of its own"
    tags = service.host.run("grep -h '\"tag\"' /var/backups/opsplay/sample/*/manifest.json").stdout
    assert "before-restore" in tags
    assert service.host.run("systemctl is-active 'sample@*'").stdout.split() == ["active"] * 3


def test_redis_keeps_it_over_a_restart(service: Service) -> None:
    service.mark("new")
    assert service.restore(restore_type="database").code == 0
    service.host.run("systemctl restart redis-server; sleep 1")
    assert service.host.run("REDISCLI_AUTH=redis-pw-1 redis-cli get mark").stdout == "old\n"
    assert "yes" in service.host.run("REDISCLI_AUTH=redis-pw-1 redis-cli config get appendonly").stdout


def test_a_broken_part_changes_nothing(service: Service) -> None:
    service.mark("new")
    stamp = service.host.run("readlink /var/backups/opsplay/sample/latest").stdout.strip()
    where = f"/var/backups/opsplay/sample/{stamp}/data.tar.age"
    service.host.run(f"cp -a {where} /root/whole; printf x | dd of={where} bs=1 seek=300 conv=notrunc 2>/dev/null")
    try:
        done = service.restore()
    finally:
        service.host.run(f"cp -a /root/whole {where}")
    assert done.code == 2 and "data.tar.age is damaged" in done.out
    assert service.look() == MARKED.format("new")
    assert service.host.run("systemctl is-active 'sample@*'").stdout.split() == ["active"] * 3


def test_configuration_comes_back_and_its_secrets_are_not_shown(service: Service) -> None:
    service.mark("old")
    service.host.run("rm /etc/sample/sample.env; echo 'nonsense;' > /etc/nginx/sites-available/sample")
    preview = service.run("config_restore", "--check", "--diff", backup_key=service.key)
    assert preview.code == 0 and "/etc/nginx/sites-available/sample" in preview.out.replace("etc/", "/etc/")
    done = service.run("config_restore", "--diff", backup_key=service.key, config_reload=["nginx"])
    assert done.code == 0, done.out
    assert service.host.run("nginx -tq; stat -c '%U %a' /etc/sample/sample.env").stdout == "root 600\n"
    for secret in PASSWORDS.values():
        assert secret not in preview.out + done.out
    again = service.run("config_restore", backup_key=service.key)
    assert again.code == 0 and not again.changed(), again.out


def test_of_a_part_of_several_databases_each_finds_its_own(service: Service) -> None:
    """Another one that comes first by its name is not taken for it."""
    postgres = "runuser -u postgres -- psql -qXc"
    service.host.run(f"{postgres} 'DROP DATABASE IF EXISTS another'; {postgres} 'CREATE DATABASE another'")
    service.mark("old")
    done = service.run("full_backup", backup_databases={"database": {"each": True}})
    assert done.code == 0, done.out
    service.mark("new")
    done = service.restore(restore_safety=False)
    service.host.run(f"{postgres} 'DROP DATABASE another'")
    assert done.code == 0, done.out
    assert service.look() == MARKED.format("old")


def test_an_increment_comes_back_and_only_a_signed_one(service: Service) -> None:
    """With its full set; without its signature, or with another key, nothing is touched."""
    signer = service.host.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout
    for kind, word in (("full", "old"), ("incremental", "later")):
        service.mark(word)
        assert service.run("full_backup", backup_type=kind).code == 0
    stamp = service.host.run("readlink /var/backups/opsplay/sample/latest").stdout.strip()
    folder = f"/var/backups/opsplay/sample/{stamp}"
    service.mark("new")
    before = service.sets()
    refused = service.restore(backup_signers=[OTHER_HOST], restore_set=stamp)
    service.host.run(f"mv {folder}/manifest.json.sig /root/kept.sig")
    unsigned = service.restore(backup_signers=[signer], restore_set=stamp)
    service.host.run(f"mv /root/kept.sig {folder}/manifest.json.sig")
    assert refused.code == 2 and "was signed by another key" in refused.out
    assert unsigned.code == 2 and "is not signed: it has no manifest.json.sig" in unsigned.out
    assert service.look() == MARKED.format("new") and service.sets() == before
    done = service.restore(backup_signers=[signer])
    assert done.code == 0, done.out
    assert service.look() == MARKED.format("later")
