"""Rules for passwords on real hosts: what files say, and who is let in and refused by real logins."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay.lab import LabHost
from opsplay.modules.hardening._settings import edited, setting, without
from tests.lab.remote_module import Call, run_calls, run_module
from tests.modules.cases import Case, previews, prove

MODULE = "hardening.password_policy"
KEPT = "/etc/login.defs /etc/security /etc/pam.d /var/lib/pam /usr/share/pam-configs"
PASSWORD = "Correct-Horse-42"
# Accounts with a password, and all that a policy changes as Debian has it.
FRESH = (
    "test -e /root/kept.tar || tar cf /root/kept.tar " + KEPT + ";"
    "rm -rf /usr/share/pam-configs/opsplay-* /etc/security/pwquality.conf.d /run/faillock /etc/security/opasswd;"
    "tar xf /root/kept.tar -C /; install -m 600 /dev/null /etc/security/opasswd;"
    "for name in p-one p-two; do id $name >/dev/null 2>&1 || useradd -m -s /bin/sh $name;"
    f"echo $name:{PASSWORD} | chpasswd; chage -m 0 -M 99999 -W 7 $name; done; echo root:{PASSWORD} | chpasswd;"
)


@pytest.fixture(scope="module")
def hosts(fleet: Mapping[str, LabHost]) -> Iterator[Mapping[str, LabHost]]:
    """The hosts, with pam_pwquality; as they were afterwards."""
    for host in fleet.values():
        host.run("apt-get update -q && apt-get install -qy --no-install-recommends libpam-pwquality "
                 "cracklib-runtime", timeout=120)  # fmt: skip
        host.run("cp -p /etc/shadow /root/shadow")
    yield fleet
    for host in fleet.values():
        host.run(FRESH + "userdel -r p-one; userdel -r p-two; mv /root/shadow /etc/shadow; rm /root/kept.tar;"
                 "apt-get purge -qy libpam-pwquality cracklib-runtime; apt-get clean; rm -rf /var/lib/apt/lists/*")  # fmt: skip


@pytest.fixture
def host(hosts: Mapping[str, LabHost], debian: LabHost) -> LabHost:
    return debian


def defs(*keys: str) -> str:
    return f"grep -E '^({'|'.join(keys)})' /etc/login.defs | tr -s ' \\t' '\\t' | sort"


def ages(name: str) -> str:
    return f"getent shadow {name} | cut -d: -f4-6"


QUALITY = "cat /etc/security/pwquality.conf.d/50-opsplay.conf; grep -E '^[^#]' /etc/security/pwquality.conf"
STACKS = "cat /etc/pam.d/common-* /etc/security/faillock.conf; ls /usr/share/pam-configs"

CASES = [
    Case("ages and a umask", {"max_days": 365, "min_days": 1, "warn_days": 14, "umask": "027"}, FRESH,
         defs("PASS_M", "PASS_W", "UMASK"), "PASS_MAX_DAYS\t365\nPASS_MIN_DAYS\t1\nPASS_WARN_AGE\t14\nUMASK\t027"),
    Case("the ages that there are", {"max_days": 99999, "min_days": 0, "warn_days": 7}, FRESH, changed=False),
    Case("hashes", {"encrypt_method": "SHA512", "rounds": 65536}, FRESH, defs("ENCRYPT", "SHA_CRYPT", "YESC"),
         "ENCRYPT_METHOD\tSHA512\nSHA_CRYPT_MAX_ROUNDS\t65536\nSHA_CRYPT_MIN_ROUNDS\t65536"),
    Case("other settings", {"login_defs": {"FAIL_DELAY": 5, "NOT_THERE_YET": "yes"}}, FRESH,
         defs("FAIL_D", "NOT_T"), "FAIL_DELAY\t5\nNOT_THERE_YET\tyes"),
    Case("accounts that are there", {"max_days": 365, "min_days": 1, "warn_days": 14, "apply_to": ["p-one"]}, FRESH,
         ages("p-one") + ";" + ages("p-two"), "1:365:14\n0:99999:7"),
    Case("an account that would be at its end", {"max_days": 30, "apply_to": ["p-one"]}, FRESH + "chage -d 2020-01-01 p-one",
         ages("p-one") + ";" + defs("PASS_M"), fails="keys would not let it in either"),
    Case("no such account", {"max_days": 30, "apply_to": ["nosuch"]}, FRESH, defs("PASS_M"), fails="no user 'nosuch'"),
    Case("strength", {"minlen": 14, "minclass": 3, "dcredit": -1, "dictcheck": False, "enforce_for_root": True}, FRESH,
         QUALITY, "minlen = 14\nminclass = 3\ndcredit = -1\ndictcheck = 0\nenforce_for_root"),
    Case("strength that the main file sets", {"minlen": 14, "enforce_for_root": False},
         FRESH + "printf 'minlen = 8\\nretry = 4\\nenforce_for_root\\n' > /etc/security/pwquality.conf", QUALITY,
         "minlen = 14\nretry = 4"),
    Case("locking", {"deny": 5, "unlock_time": 900, "fail_interval": 600}, FRESH,
         "grep -E '^[^#]' /etc/security/faillock.conf; grep -c faillock /etc/pam.d/common-auth /etc/pam.d/common-account",
         "deny = 5\nfail_interval = 600\nunlock_time = 900\n/etc/pam.d/common-auth:2\n/etc/pam.d/common-account:1"),
    Case("locking goes", {"deny": 0}, FRESH + "cp /etc/pam.d/common-auth /root/auth;"
         "printf 'Name: x\\nDefault: yes\\nPriority: 1024\\nAuth-Type: Primary\\nAuth:\\n\\trequisite\\tpam_faillock.so preauth\\n' "
         "> /usr/share/pam-configs/opsplay-faillock-before; DEBIAN_FRONTEND=noninteractive pam-auth-update --package",
         "ls /usr/share/pam-configs | grep opsplay; cmp /etc/pam.d/common-auth /root/auth && echo same", "same"),
    Case("nothing to go", {"deny": 0, "remember": 0}, FRESH, changed=False),
    Case("old passwords", {"remember": 5}, FRESH, "grep -h pwhistory /etc/pam.d/common-* | tr -s '\\t ' ' '",
         "password requisite pam_pwhistory.so remember=5 use_authtok try_first_pass"),
    Case("nothing asked", {}, fails="nothing is asked for"),
    Case("no password could be changed", {"max_days": 5, "min_days": 9}, fails="no password could be changed"),
    Case("out of one's own files", {"umask": "777"}, fails="out of their own files"),
    Case("no umask", {"umask": "8"}, fails="is no umask"),
    Case("a cost without a method", {"rounds": 5}, fails="rounds needs encrypt_method"),
    Case("a cost that is none", {"encrypt_method": "SHA512", "rounds": 5}, fails="5000 to 999999999"),
    Case("two lines", {"login_defs": {"A": "b\nUMASK 0"}}, fails="is no setting"),
    Case("locked by a slip", {"deny": 1}, FRESH, STACKS, fails="a slip of the finger"),
    Case("no locking with a time", {"deny": 0, "unlock_time": 5}, fails="have no use then"),
    Case("root without a number", {"deny_root": True}, fails="deny_root needs deny"),
    Case("nobody for the ages", {"apply_to": ["p-one"]}, FRESH, fails="apply_to needs"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES, ids=str)
def test_policies(host: LabHost, case: Case) -> None:
    prove(host, MODULE, case)


def su(host: LabHost, account: str, password: str) -> bool:
    """Whether a user without rights becomes `account` with this password."""
    command = ["runuser", "-u", "plain", "--", "su", "-s", "/bin/sh", "-c", "id -un", account]
    return host.run(command, stdin=password + "\n", check=False, timeout=30).stdout.strip() == account


def guess(host: LabHost, *accounts: str, times: int = 3) -> None:
    """Wrong passwords for accounts, side by side: PAM makes each guesser wait."""
    each = "for name in %s; do for n in $(seq %d); do (echo wrong | runuser -u plain -- su $name -c id) & done; done; wait"
    assert "uid=" not in host.run(each % (" ".join(accounts), times), check=False, timeout=60).stdout


def ssh(host: LabHost, account: str, password: str) -> bool:
    """Whether sshd lets `account` in with this password."""
    with socket.create_connection((host.address, 22), timeout=10) as connection:
        transport = paramiko.Transport(connection)
        try:
            transport.start_client(timeout=10)
            transport.auth_password(account, password)
            return transport.is_authenticated()
        except paramiko.AuthenticationException:
            return False
        finally:
            transport.close()


def key(host: LabHost, account: str) -> bool:
    """Whether sshd lets `account` in with the lab's key."""
    path = next(path for path in host.root.parents if (path / "key").exists()) / "key"
    argv = ["ssh", "-i", str(path), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    argv += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", f"{account}@{host.address}", "id -un"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout.strip() == account


@pytest.mark.lab
def test_failed_logins_lock_an_account_and_nobody_else(host: LabHost) -> None:
    """With all rules on: passwords and keys let in; a guesser is locked, root and key holders are not."""
    host.run(FRESH + "echo 'admin:x-Y-12345-z' | chpasswd")
    rules = {"deny": 3, "unlock_time": 600, "fail_interval": 600, "remember": 5, "minlen": 14, "max_days": 365}
    result, again = run_calls(host, [Call(MODULE, rules)] * 2)
    assert result["changed"] and not again["changed"], (result, again)
    assert su(host, "p-one", PASSWORD) and su(host, "root", PASSWORD) and ssh(host, "p-one", PASSWORD)
    guess(host, "p-one", "root", "admin")
    assert not su(host, "p-one", PASSWORD) and not ssh(host, "p-one", PASSWORD)
    assert su(host, "p-two", PASSWORD), "another account is locked, too"
    assert su(host, "root", PASSWORD), "root is locked out"
    assert key(host, "admin") and host.run("su p-one -c 'id -un'").stdout == "p-one\n"
    host.run("faillock --user p-one --reset")
    assert su(host, "p-one", PASSWORD) and ssh(host, "p-one", PASSWORD)
    assert not run_module(host, MODULE, {"deny": 0, "remember": 0}).get("failed")
    assert su(host, "p-one", PASSWORD)
    host.run("tar xOf /root/kept.tar etc/pam.d/common-auth | cmp - /etc/pam.d/common-auth")


@pytest.mark.lab
def test_a_good_login_forgets_the_failed_ones_before_it(hosts: Mapping[str, LabHost]) -> None:
    host = hosts["bookworm"]
    host.run(FRESH)
    assert not run_module(host, MODULE, {"deny": 3}).get("failed")
    for _ in range(2):
        guess(host, "p-two", times=2)
        assert su(host, "p-two", PASSWORD)


@pytest.mark.lab
def test_locks_end_by_themselves_and_root_only_when_asked(hosts: Mapping[str, LabHost]) -> None:
    host = hosts["bookworm"]
    host.run(FRESH)
    rules = {"deny": 3, "unlock_time": 4, "deny_root": True}
    assert not run_module(host, MODULE, rules).get("failed")
    guess(host, "root")
    assert not su(host, "root", PASSWORD)
    host.run("sleep 4")
    assert su(host, "root", PASSWORD)


@pytest.mark.lab
def test_weak_and_old_passwords_are_refused(host: LabHost) -> None:
    host.run(FRESH)
    rules = {"remember": 5, "minlen": 14, "minclass": 2, "dictcheck": True}
    assert not run_module(host, MODULE, rules).get("failed")

    def change(old: str, new: str) -> bool:
        command = ["runuser", "-u", "p-one", "--", "passwd"]
        return host.run(command, stdin=f"{old}\n{new}\n{new}\n", check=False, timeout=30).returncode == 0

    first, second = "Purple-Monkey-77-x", "Green-Elephant-88-y"
    assert not change(PASSWORD, "short-1A") and not change(PASSWORD, "qmzkwpxvhdlcgt") and not change(PASSWORD, "responsibility")
    assert change(PASSWORD, first) and change(first, second)
    assert not change(second, first), "an old password is taken again"
    assert su(host, "p-one", second)


@pytest.mark.lab
def test_stacks_changed_by_hand_are_left_alone(host: LabHost) -> None:
    """Where pam-auth-update keeps its hands off, the task fails and nothing of it stays."""
    host.run(FRESH + "sed -i 's/^auth.*pam_unix.so/#&/; $ a auth sufficient pam_unix.so' /etc/pam.d/common-auth")
    before = host.run(STACKS + "; cat /var/lib/pam/*").stdout
    result = run_module(host, MODULE, {"remember": 5})
    assert result["failed"] and "pam-auth-update" in result["msg"], result
    assert host.run(STACKS + "; cat /var/lib/pam/*").stdout == before


@pytest.mark.lab
def test_what_would_lock_everybody_out_is_taken_back(host: LabHost) -> None:
    """The module of PAM cannot be loaded: sessions would not open any more, and all is as before."""
    host.run(FRESH)
    place = host.run("ls /lib/*/security/pam_faillock.so /usr/lib/*/security/pam_faillock.so 2>/dev/null | head -1").stdout.strip()
    host.run(f"mv {place} /root/pam_faillock.so; echo broken > {place}")
    try:
        before = host.run(STACKS.replace("/etc/security/faillock.conf", "")).stdout
        result = run_module(host, MODULE, {"deny": 3})
        assert result["failed"] and "could not log in any more; all is as it was" in result["msg"], result
        assert host.run(STACKS.replace("/etc/security/faillock.conf", "")).stdout == before
        assert su(host, "p-one", PASSWORD)
    finally:
        host.run(f"mv /root/pam_faillock.so {place}")


@pytest.mark.lab
def test_yescrypt_where_the_tools_know_it(host: LabHost) -> None:
    host.run(FRESH)
    result = run_module(host, MODULE, {"encrypt_method": "YESCRYPT", "rounds": 6})
    if host.release == "bullseye":
        assert result["failed"] and "do not know YESCRYPT" in result["msg"]
    else:
        assert host.run(defs("ENCRYPT", "YESC")).stdout == "ENCRYPT_METHOD\tYESCRYPT\nYESCRYPT_COST_FACTOR\t6\n"
    assert host.run("useradd p-new && userdel p-new").stderr == ""


@pytest.mark.lab
@pytest.mark.parametrize(
    ("files", "package"),
    [("/usr/lib/*/security/pam_pwquality.so", "libpam-pwquality"), ("/var/cache/cracklib/*.pwd", "cracklib-runtime")],
)
def test_without_the_package(hosts: Mapping[str, LabHost], files: str, package: str) -> None:
    """A run says what to install; a preview goes on when an earlier task would install it."""
    host = hosts["bookworm"]
    host.run(FRESH + f"for file in {files}; do mv $file $file.off; done")
    try:
        result = run_module(host, MODULE, {"minlen": 14})
        assert result["failed"] and f"install the package {package}" in result["msg"]
        install = ("packages.apt", {"name": "figlet", "update_cache": True})
        steps = previews(host, [install, (MODULE, {"minlen": 14, "deny": 3}), (MODULE, {"minlen": 14, "deny": 3})])
        assert [step["changed"] for step in steps] == [True, True, False], steps
    finally:
        host.run(f"for file in {files}.off; do mv $file ${{file%.off}}; done")


TEXT = "# A comment\nA\t1\n#B 2\n\nC = 3 # said\nA 9\nlast"


@pytest.mark.parametrize(
    ("wanted", "after"),
    [
        ({"A": "9"}, "# A comment\nA=9\n#B 2\n\nC = 3 # said\nlast\n"),
        ({"B": "5"}, "# A comment\nA\t1\n#B 2\nB=5\n\nC = 3 # said\nA 9\nlast\n"),
        ({"C": "3"}, TEXT + "\n"),
        ({"C": None, "A": None}, "# A comment\n#B 2\n\nlast\n"),
        ({"D": "", "last": ""}, TEXT + "\nD\n"),
    ],
)
def test_settings_change_in_their_place(wanted: dict[str, str | None], after: str) -> None:
    assert edited(TEXT, wanted, "%s=%s") == after


@given(st.lists(st.sampled_from(["A 1", "B = 2", "#A 3", "", "C", "A=4", "# text"])), st.sampled_from(["7", "", None]))
def test_a_setting_is_there_once_and_the_rest_stays(lines: list[str], value: str | None) -> None:
    text = "".join(line + "\n" for line in lines)
    after = edited(text, {"A": value}, "%s %s")
    found = [setting(line) for line in after.split("\n")]
    assert [entry for entry in found if entry and entry[0] == "A"] == ([] if value is None else [("A", value)])
    rest = [line for line in after.split("\n")[:-1] if (setting(line) or ("",))[0] != "A"]
    assert rest == [line for line in lines if (setting(line) or ("",))[0] != "A"]
    assert edited(after, {"A": value}, "%s %s") == after


def test_settings_become_comments() -> None:
    assert without("A 1\nB 2\n#A 3\n", ["A"]) == "# A 1\nB 2\n#A 3\n"
