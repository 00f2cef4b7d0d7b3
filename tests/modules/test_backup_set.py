"""Sets of databases and files: whole or not there at all, and back to where they belong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from opsplay.lab import LabHost
from tests.lab.remote_module import Call
from tests.modules.cases import one
from tests.modules.databases import drop_database, make_database, manifest

SET, BACK = "backup.backup_set", "backup.backup_restore"
DIR = "/srv/t-sets"


@dataclass(frozen=True)
class Service:
    """A host with a service's database and files, and a key that is not on it."""

    host: LabHost
    recipient: str
    key: str

    def make(self, **params: Any) -> dict[str, Any]:
        return one(self.host, Call(SET, {**self.params(), **params}))

    def params(self) -> dict[str, Any]:
        return {
            "name": "shop", "dir": DIR, "release": "/srv/t-shop/current",
            "encrypt": {"method": "age", "recipients": [self.recipient]},
            "databases": {"shop": {"db": "shop", "verify": "restore"}, "roles": {"content": "globals"}},
            "redis": {"cache": {}},
            "archives": {
                "config": {"paths": ["/etc/t-shop"], "optional": ["/etc/t-shop-more"]},
                "tls": {"paths": ["/etc/ssl/t-shop.pem"]},
                "data": {"paths": ["/srv/t-shop/uploads"], "exclude": ["*.tmp"], "live": True},
            },
            "config": ["config", "tls"],
        }  # fmt: skip


@pytest.fixture(scope="module")
def service(full: Callable[[str], LabHost]) -> Iterator[Service]:
    host = full("bookworm")
    make_database(host, "shop", rows=500)
    key = host.run("age-keygen 2>/dev/null").stdout
    yield Service(host, next(line.split()[-1] for line in key.split("\n") if "public" in line), key)
    drop_database(host, "shop")
    host.run(f"rm -rf {DIR} /etc/t-shop* /etc/ssl/t-shop* /srv/t-shop*")


@pytest.fixture
def fresh(service: Service) -> Service:
    """No set yet, and the files as they were made."""
    service.host.run(f"""
        rm -rf {DIR} /etc/t-shop* /etc/ssl/t-shop* /srv/t-shop*
        mkdir -p /etc/t-shop/conf.d /srv/t-shop/uploads/deep /srv/t-shop/releases/v1.2; ln -s releases/v1.2 /srv/t-shop/current
        echo 'password = s3cret-word' > /etc/t-shop/main.conf; chmod 640 /etc/t-shop/main.conf; chgrp adm /etc/t-shop/main.conf
        echo a > /etc/t-shop/conf.d/a; ln -s a /etc/t-shop/conf.d/link; echo KEY > /etc/ssl/t-shop.pem; chmod 600 /etc/ssl/t-shop.pem
        echo picture > /srv/t-shop/uploads/deep/p.png; echo half > /srv/t-shop/uploads/x.tmp
        chown -R www-data: /srv/t-shop/uploads; setfacl -m u:ops:r /srv/t-shop/uploads/deep/p.png
    """)  # fmt: skip
    return service


def state(host: LabHost) -> str:
    """All that a restore has to bring back."""
    look = "find /etc/t-shop /etc/ssl/t-shop.pem /srv/t-shop/uploads ! -name '*.tmp' -printf '%p %y %m %u %g %l\\n' | sort"
    text = "find /etc/t-shop /etc/ssl/t-shop.pem /srv/t-shop/uploads -type f ! -name '*.tmp' -exec sha256sum {} + | sort"
    return host.run(f"{look}; {text}; getfacl -p /srv/t-shop/uploads/deep/p.png", check=False).stdout


def sets(host: LabHost, name: str = "shop") -> list[str]:
    return host.run(f"ls -A {DIR}/{name} 2>/dev/null", check=False).stdout.split()


def test_a_full_set_is_whole_encrypted_and_private(fresh: Service) -> None:
    result = fresh.make()
    assert not result.get("failed"), result["msg"]
    data = manifest(fresh.host, result["folder"])
    assert [part["name"] for part in data["parts"]] == ["roles", "shop", "cache", "config", "data", "tls"]
    assert data["release"] == "v1.2" and data["type"] == "full" and data["encryption"]["method"] == "age"
    for entry in data["files"]:
        assert fresh.host.run(f"sha256sum '{result['folder']}/{entry['name']}'").stdout.split()[0] == entry["sha256"]
    found = fresh.host.run(f"cd {result['folder']} && find . -type f -printf '%m %P\\n' | sort -k2").stdout.split("\n")
    assert all(line.startswith("600 ") for line in found if line)
    assert {line.split()[1] for line in found if line} == {"manifest.json", "manifest.json.sig"} | {entry["name"] for entry in data["files"]}
    assert "s3cret-word" not in fresh.host.run(f"grep -rac s3cret-word {DIR} | grep -v :0", check=False).stdout
    denied = fresh.host.run(["runuser", "-u", "plain", "--", "ls", DIR + "/shop"], check=False)
    assert denied.returncode != 0
    assert fresh.host.run(f"readlink {DIR}/shop/latest").stdout.strip() == data["started"].translate({45: "", 58: ""})


def test_what_was_lost_or_changed_comes_back(fresh: Service) -> None:
    before = state(fresh.host)
    made = fresh.make()
    fresh.host.run("""
        rm /etc/ssl/t-shop.pem; echo other > /etc/t-shop/main.conf; chmod 666 /etc/t-shop/main.conf; echo new > /etc/t-shop/new
        rm -r /srv/t-shop/uploads/deep
    """)
    call = {"src": f"{DIR}/shop/latest", "key": fresh.key}
    damaged = state(fresh.host)
    preview = one(fresh.host, Call(BACK, call, check=True))
    assert preview["changed"] and state(fresh.host) == damaged
    told = str(preview["diff"])
    assert "etc/t-shop/main.conf: Mode differs" in told and "/etc/t-shop/new: not in the archive" in told
    assert "s3cret-word" not in told
    result = one(fresh.host, Call(BACK, call))
    assert not result.get("failed"), result["msg"]
    assert state(fresh.host) == before
    assert {path.partition(".old-")[0] for path in result["kept"]} == {"/etc/t-shop", "/srv/t-shop/uploads"}
    assert sorted(result["databases"]) == ["cache", "roles", "shop"]
    assert fresh.host.run(f"cat {result['kept'][0]}/main.conf").stdout == "other\n"
    again = one(fresh.host, Call(BACK, call))
    assert again["changed"] is False and made["folder"] == again["folder"]


def test_some_archives_alone(fresh: Service) -> None:
    fresh.make()
    fresh.host.run("echo other > /etc/t-shop/main.conf; echo other > /etc/ssl/t-shop.pem")
    result = one(fresh.host, Call(BACK, {"src": f"{DIR}/shop/latest", "key": fresh.key, "parts": ["tls"]}))
    assert result["restored"] == ["/etc/ssl/t-shop.pem"]
    assert fresh.host.run("cat /etc/t-shop/main.conf").stdout == "other\n"


def test_what_does_not_hold_goes_back(fresh: Service) -> None:
    fresh.host.run("echo broken > /etc/t-shop/main.conf")
    fresh.make()
    fresh.host.run("echo good > /etc/t-shop/main.conf; rm /etc/ssl/t-shop.pem")
    before = fresh.host.run("cat /etc/t-shop/main.conf; ls -A /etc /etc/ssl").stdout
    check = ["sh", "-c", "grep -q good /etc/t-shop/main.conf || { echo main.conf is broken; exit 1; }"]
    result = one(fresh.host, Call(BACK, {"src": f"{DIR}/shop/latest", "key": fresh.key, "validate": [check]}))
    assert result["failed"] and "main.conf is broken; the files from before are back in place" in result["msg"]
    assert fresh.host.run("cat /etc/t-shop/main.conf; ls -A /etc /etc/ssl").stdout == before


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"key": None}, "is encrypted by age; give its key"),
        ({"parts": ["nothing"]}, "has no archive nothing; it has config, data, tls"),
        ({"src": "/srv"}, "/srv holds no manifest.json"),
    ],
)
def test_what_cannot_be_restored(fresh: Service, params: dict[str, Any], said: str) -> None:
    fresh.make()
    before = state(fresh.host)
    result = one(fresh.host, Call(BACK, {"src": f"{DIR}/shop/latest", "key": fresh.key, **params}))
    assert result["failed"] and said in result["msg"] and state(fresh.host) == before


def test_another_key_and_a_damaged_archive_change_nothing(fresh: Service) -> None:
    folder = fresh.make()["folder"]
    fresh.host.run("echo other > /etc/t-shop/main.conf")
    before = state(fresh.host)
    other = fresh.host.run("age-keygen 2>/dev/null").stdout
    result = one(fresh.host, Call(BACK, {"src": folder, "key": other}))
    assert result["failed"] and "no identity matched" in result["msg"] and "nothing was changed" in result["msg"]
    fresh.host.run(f"printf x | dd of={folder}/tls.tar.age bs=1 seek=9 conv=notrunc 2>/dev/null")
    result = one(fresh.host, Call(BACK, {"src": folder, "key": fresh.key, "parts": ["config"]}))
    assert result["failed"] and "tls.tar.age is damaged" in result["msg"]
    assert state(fresh.host) == before


def test_configuration_that_has_not_changed_makes_no_set(fresh: Service) -> None:
    first = fresh.make(type="config")
    assert first["changed"] and first["parts"] == ["config", "tls"]
    again = fresh.make(type="config")
    assert again["changed"] is False and len(sets(fresh.host, "shop-config")) == 2, "a set and latest"
    fresh.host.run("chmod 600 /etc/t-shop/main.conf; sleep 1")
    assert fresh.make(type="config")["changed"] and len(sets(fresh.host, "shop-config")) == 3
    assert sets(fresh.host) == [], "none is taken for a whole one"


def test_a_set_made_in_need_moves_and_removes_nothing(fresh: Service) -> None:
    first = fresh.make(keep_days=1, keep_min=1)
    fresh.host.run("sleep 1.1")
    need = fresh.make(type="emergency", keep_days=1, keep_min=1)
    assert need["tag"] == "emergency" and need["removed"] == []
    assert fresh.host.run(f"readlink -f {DIR}/shop/latest").stdout.strip() == first["folder"]


def test_what_may_be_missing_is_a_warning_and_what_may_not_a_failure(fresh: Service) -> None:
    result = fresh.make()
    assert "config: /etc/t-shop-more is not there and is left out" in " ".join(result["warnings"])
    before = sets(fresh.host)
    fresh.host.run("rm -r /etc/t-shop")
    result = fresh.make()
    assert result["failed"] and "/etc/t-shop does not exist; name it under `optional`" in result["msg"]
    assert sets(fresh.host) == before


def test_a_part_that_fails_leaves_no_set(fresh: Service) -> None:
    assert not fresh.make().get("failed")
    before = sets(fresh.host)
    result = fresh.make(databases={"shop": {"db": "no-such-database"}})
    assert result["failed"] and 'database "no-such-database" does not exist' in result["msg"]
    assert "latest and the older sets are as they were" in result["msg"] and sets(fresh.host) == before


def test_a_preview_says_what_would_be_made_and_makes_nothing(fresh: Service) -> None:
    result = one(fresh.host, Call(SET, fresh.params(), check=True))
    assert result["changed"] and result["parts"] == ["roles", "shop", "cache", "config", "data", "tls"]
    assert "backup of shop (all, custom)" in str(result["diff"]) and sets(fresh.host) == []


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", "latest", "manifest.json"])
def test_a_part_s_name_stays_in_its_set(fresh: Service, name: str) -> None:
    result = fresh.make(archives={name: {"paths": ["/etc/hosts"]}}, databases={})
    assert result["failed"] and "cannot be the name of a part" in result["msg"] and sets(fresh.host) == []


def test_two_at_once_wait_for_each_other(fresh: Service) -> None:
    held = "import fcntl,time; f=open('/run/opsplay-0-backup-set-shop.lock','w'); fcntl.lockf(f,2); time.sleep(20)"
    fresh.host.run(["systemd-run", "--collect", "--unit=t-held", "python3", "-c", held])
    fresh.host.run("sleep 0.5")
    result = fresh.make(wait=0)
    fresh.host.run("systemctl stop t-held")
    assert result["failed"] and "backup-set-shop is locked by process" in result["msg"], result


def test_an_increment_of_an_encrypted_set_tells_no_names(fresh: Service) -> None:
    """Names lie in the host's own list alone, which nobody else can read; with the key it comes back as it was."""
    full = fresh.make()
    fresh.host.run("""
        rm /srv/t-shop/uploads/deep/p.png; mv /etc/t-shop/conf.d/a /etc/t-shop/conf.d/hidden-name
        echo more > /srv/t-shop/uploads/hidden-name; setfacl -m u:ops:rw /srv/t-shop/uploads/hidden-name
        chmod 600 /etc/t-shop/main.conf; rm /etc/ssl/t-shop.pem; mkdir /etc/ssl/t-shop.pem
    """)
    before = state(fresh.host)
    made = fresh.make(type="incremental")
    assert not made.get("failed"), made["msg"]
    data = manifest(fresh.host, made["folder"])
    assert made["increment_of"] == full["stamp"] and data["databases"] == "full" and made["encrypted"]
    assert {entry["name"] for entry in data["files"]} >= {"config.tar.age", "config.list.age", "data.list.age"}
    told = f"cd {DIR}/shop; grep -rla -e hidden-name -e main.conf -e p.png . | grep -v '^./.listing-'"
    assert fresh.host.run(told, check=False).stdout == ""
    assert fresh.host.run(f"stat -c %a {DIR}/shop/.listing-{full['stamp']}").stdout == "600\n"
    fresh.host.run("rm -r /etc/t-shop /srv/t-shop/uploads; echo other > /etc/ssl/t-shop.pem.new")
    call = {"src": f"{DIR}/shop/latest", "key": fresh.key}
    other = fresh.host.run("age-keygen 2>/dev/null").stdout
    refused = one(fresh.host, Call(BACK, {**call, "key": other}))
    assert refused["failed"] and "nothing was changed" in refused["msg"]
    preview = one(fresh.host, Call(BACK, call, check=True))
    assert preview["changed"] and "is missing" in str(preview["diff"])
    result = one(fresh.host, Call(BACK, call))
    assert not result.get("failed"), result["msg"]
    assert state(fresh.host) == before and sorted(result["databases"]) == ["cache", "roles", "shop"]
    assert one(fresh.host, Call(BACK, call))["changed"] is False
    left = "find / -xdev -name '.opsplay-*' -not -path '/proc/*'; find /run /dev/shm -name '.opsplay-*'"
    assert fresh.host.run(left).stdout == ""


@pytest.mark.parametrize(("encrypt", "said"), [(None, "is encrypted by age"), ("lost", "what the full set")])
def test_an_increment_that_could_not_come_back_becomes_a_full_set(fresh: Service, encrypt: str | None, said: str) -> None:
    full = fresh.make(databases={}, redis={})
    if encrypt == "lost":
        fresh.host.run(f"rm {DIR}/shop/.listing-{full['stamp']}")
    changed = {} if encrypt else {"encrypt": None}
    made = fresh.make(type="incremental", databases={}, redis={}, **changed)
    assert made["type"] == "full" and made["increment_of"] == "", made
    assert any(said in warning and "this set is a full one" in warning for warning in made["warnings"])


def test_each_part_is_signed_for_itself(fresh: Service) -> None:
    """So that pg_restore, which is given the folder of a part, can ask for it, too."""
    made = fresh.make(sign="required")
    signer = fresh.host.run("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout
    parts = {part["name"]: part for part in manifest(fresh.host, made["folder"])["parts"]}
    folders = [f"{made['folder']}/{parts[name]['folders'][0]}" for name in ("shop", "roles", "cache")]
    for folder in [made["folder"], *folders]:
        verify = "(printf 'x '; cat /etc/ssh/ssh_host_ed25519_key.pub) > /run/t-signers; ssh-keygen -Y verify -f /run/t-signers"
        fresh.host.run(f"{verify} -I x -n opsplay-backup -s {folder}/manifest.json.sig < {folder}/manifest.json")
    for module, more in ((BACK, {"src": made["folder"]}), ("postgres.pg_globals", {"src": folders[1]})):
        call = {**more, "key": fresh.key, "signed_by": [signer]}
        assert not one(fresh.host, Call(module, call)).get("failed")
        fresh.host.run(f"printf ' ' >> {more['src']}/manifest.json")
        refused = one(fresh.host, Call(module, call))
        assert refused["failed"] and "it was changed afterwards" in refused["msg"], refused
