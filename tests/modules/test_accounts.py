"""Users and groups on real hosts, as tables: state before, parameters, outcome."""

from __future__ import annotations

import subprocess

import pytest

from opsplay.lab import LabHost
from opsplay.modules.accounts._changes import looks_hashed
from tests.lab.remote_module import Call, run_calls
from tests.modules.cases import Case, previews, prove

HASH = "$6$saltsalt$7Sk4QJ1vfcPpRWtlyG0RjSS9OzmQ5hcgS4lvSwqCJX3dGBI1AKBtCKd4mcNkLHeWQ0jG4QKh9ULW7UnV8N6Xb0"
OTHER = "$6$othersalt$7Sk4QJ1vfcPpRWtlyG0RjSS9OzmQ5hcgS4lvSwqCJX3dGBI1AKBtCKd4mcNkLHeWQ0jG4QKh9ULW7UnV8N6Xb0"
# Each case begins without these.
CLEAN = """
for user in alice bob; do userdel -r -f $user 2>/dev/null; done
for group in alice bob red blue; do groupdel -f $group 2>/dev/null; done
rm -rf /srv/alice /home/alice /srv/skel
"""
ALICE = CLEAN + "groupadd red; groupadd blue; useradd -m -s /bin/sh -c Alice -G red alice;"

USERS = [
    Case(
        "is made",
        {"name": "alice"},
        CLEAN,
        "getent passwd alice | cut -d: -f1,5-; id -Gn alice; test -d /home/alice && stat -c '%U %G' /home/alice",
        "alice::/home/alice:/bin/sh\nalice\nalice alice",
        result={"create_home": True, "system": False, "home": "/home/alice", "shell": "/bin/sh", "state": "present"},
    ),
    Case(
        "is made with all there is",
        {
            "name": "alice", "uid": 4711, "group": "red", "groups": ["blue"], "comment": "Alice A.",
            "shell": "/bin/bash",
            "home": "/srv/alice", "umask": "027", "password": HASH, "expires": 1893456000, "password_expire_max": 90,
            "password_expire_min": 1, "password_expire_warn": 10, "password_expire_account_disable": 30,
        },
        CLEAN + "groupadd -g 4000 red; groupadd blue",
        "getent passwd alice; id -Gn alice; getent shadow alice | cut -d: -f2,4-; stat -c %a /srv/alice",
        f"alice:x:4711:4000:Alice A.:/srv/alice:/bin/bash\nred blue\n{HASH}:1:90:10:30:21915:\n750",
        result={"uid": 4711, "groups": "blue", "password": "NOT_LOGGING_PASSWORD"},
    ),
    Case("a system account has a low number", {"name": "alice", "system": True, "create_home": False}, CLEAN,
         "id -u alice 2>/dev/null | grep -c '^[0-9]\\{2,3\\}$'; ls -d /home/alice 2>/dev/null", "1"),
    Case("a number from a range", {"name": "alice", "uid_min": 3000, "uid_max": 3010}, CLEAN, "id -u alice", "3000"),
    Case("a skeleton of its own", {"name": "alice", "skeleton": "/srv/skel"},
         CLEAN + "mkdir -p /srv/skel/sub; echo x > /srv/skel/sub/file",
         "ls -A /home/alice; stat -c %U /home/alice/sub/file", "sub\nalice"),
    Case("joins a group that has its name", {"name": "alice", "group": "alice"}, CLEAN + "groupadd alice",
         "id -gn alice",
         "alice"),
    Case("is there", {"name": "alice"}, ALICE, changed=False, result={"append": False, "comment": "Alice"}),
    Case("groups are added", {"name": "alice", "groups": "blue", "append": True}, ALICE, "id -Gn alice",
         "alice red blue"),
    Case("groups are just these", {"name": "alice", "groups": "blue"}, ALICE, "id -Gn alice", "alice blue"),
    Case("no groups", {"name": "alice", "groups": ""}, ALICE, "id -Gn alice", "alice", result={"groups": ""}),
    Case("groups that it has", {"name": "alice", "groups": ["red", "alice"]}, ALICE, changed=False),
    Case("a group by its number", {"name": "alice", "groups": ["1999"]}, ALICE + "groupmod -g 1999 blue",
         "id -Gn alice",
         "alice blue"),
    Case("shell and comment", {"name": "alice", "shell": "/bin/bash", "comment": "A, B"}, ALICE,
         "getent passwd alice | cut -d: -f5,7", "A, B:/bin/bash"),
    Case("the home directory moves", {"name": "alice", "home": "/srv/alice", "move_home": True},
         ALICE + "echo x > /home/alice/mine", "cat /srv/alice/mine; ls -d /home/alice 2>/dev/null", "x"),
    Case("a missing home directory comes back", {"name": "alice"}, ALICE + "rm -rf /home/alice",
         "stat -c '%U %G' /home/alice /home/alice/.profile", "alice alice\nalice alice"),
    Case("the password is changed", {"name": "alice", "password": OTHER}, ALICE + f"echo 'alice:{HASH}' | chpasswd -e",
         "getent shadow alice | cut -d: -f2", OTHER),
    Case("the password is left", {"name": "alice", "password": OTHER, "update_password": "on_create"},
         ALICE + f"echo 'alice:{HASH}' | chpasswd -e", "getent shadow alice | cut -d: -f2", HASH, changed=False),
    Case("the password is locked", {"name": "alice", "password_lock": True},
         ALICE + f"echo 'alice:{HASH}' | chpasswd -e",
         "getent shadow alice | cut -d: -f2", "!" + HASH),
    Case("the password is unlocked", {"name": "alice", "password_lock": False},
         ALICE + f"echo 'alice:!{HASH}' | chpasswd -e", "getent shadow alice | cut -d: -f2", HASH),
    Case("a new password that is locked", {"name": "alice", "password": HASH, "password_lock": True}, ALICE,
         "getent shadow alice | cut -d: -f2", "!" + HASH),
    Case("a password that is none", {"name": "alice", "password": "*"}, ALICE + f"echo 'alice:{HASH}' | chpasswd -e",
         "getent shadow alice | cut -d: -f2", "*"),
    Case("the account expires", {"name": "alice", "expires": 1422403387}, ALICE, "getent shadow alice | cut -d: -f8",
         "16463"),
    Case("the account expires no more", {"name": "alice", "expires": -1}, ALICE + "chage -E 2015-01-28 alice",
         "getent shadow alice | cut -d: -f8", ""),
    Case("ages of the password", {"name": "alice", "password_expire_max": -1, "password_expire_warn": 3}, ALICE,
         "getent shadow alice | cut -d: -f5,6", ":3"),
    Case("all ages of the password", {"name": "alice", "password_expire_max": 60, "password_expire_min": 2,
                                      "password_expire_warn": 5, "password_expire_account_disable": 14}, ALICE,
         "getent shadow alice | cut -d: -f4-7", "2:60:5:14"),
    Case("ages that it has", {"name": "alice", "password_expire_max": 60, "password_expire_account_disable": 14},
         ALICE + "chage -M 60 -I 14 alice", changed=False),
    Case("is disabled no more", {"name": "alice", "password_expire_account_disable": -1}, ALICE + "chage -I 14 alice",
         "getent shadow alice | cut -d: -f7", ""),
    Case("expires on the day that it does", {"name": "alice", "expires": 1422403387.5}, ALICE + "chage -E 2015-01-28 alice",
         changed=False),
    Case("expires at once", {"name": "alice", "expires": 0}, ALICE, "getent shadow alice | cut -d: -f8", "0"),
    Case("is locked already", {"name": "alice", "password_lock": True}, ALICE + f"echo 'alice:!{HASH}' | chpasswd -e",
         changed=False),
    Case("is open already", {"name": "alice", "password_lock": False}, ALICE + f"echo 'alice:{HASH}' | chpasswd -e",
         changed=False),
    Case("nothing is under the lock", {"name": "alice", "password_lock": False}, ALICE, "getent shadow alice",
         fails="alice has no password that could be unlocked"),
    Case("a hash under the lock", {"name": "alice", "password_lock": False, "password": OTHER},
         ALICE, "getent shadow alice | cut -d: -f2", OTHER),
    Case("an unhashed password is doubted", {"name": "alice", "password": "secret"}, ALICE,
         warns="not look like a hash"),
    Case("a key pair is made", {"name": "alice", "generate_ssh_key": True, "ssh_key_type": "ed25519",
                                "ssh_key_comment": "of alice", "ssh_key_passphrase": "open sesame"}, ALICE,
         "ssh-keygen -y -P 'open sesame' -f /home/alice/.ssh/id_ed25519 | cut -d' ' -f1;"
         "stat -c '%U %a' /home/alice/.ssh /home/alice/.ssh/id_ed25519 /home/alice/.ssh/id_ed25519.pub",
         "ssh-ed25519\nalice 700\nalice 600\nalice 644", result={"ssh_key_file": "/home/alice/.ssh/id_ed25519"}),
    Case("is removed", {"name": "alice", "state": "absent"}, ALICE, "id alice 2>&1; ls -d /home/alice",
         "id: ‘alice’: no such user\n/home/alice", result={"force": False, "remove": False}),
    Case("is removed with its home", {"name": "alice", "state": "absent", "remove": True}, ALICE,
         "ls -d /home/alice 2>/dev/null", ""),
    Case("is gone already", {"name": "alice", "state": "absent"}, CLEAN, changed=False),
    Case("an unknown group", {"name": "alice", "groups": ["nogroupatall"]}, ALICE, fails="nogroupatall does not exist"),
    Case("a colon in the comment", {"name": "alice", "comment": "a:b"}, ALICE, fails="colon"),
]  # fmt: skip

GROUPS = [
    Case("is made", {"name": "red"}, CLEAN, "getent group red | cut -d: -f1", "red", result={"state": "present",
         "system": False}),
    Case("is made with a number", {"name": "red", "gid": 4242}, CLEAN, "getent group red", "red:x:4242:",
         result={"gid": 4242}),
    Case("a system group", {"name": "red", "system": True}, CLEAN, "getent group red | grep -c ':[0-9]\\{3\\}:'", "1"),
    Case("a number from a range", {"name": "red", "gid_min": 7000, "gid_max": 7009}, CLEAN, "getent group red",
         "red:x:7000:"),
    Case("a number that is used", {"name": "red", "gid": 0, "non_unique": True}, CLEAN, "getent group red", "red:x:0:"),
    Case("gets another number", {"name": "red", "gid": 4243}, CLEAN + "groupadd -g 4242 red", "getent group red",
         "red:x:4243:"),
    Case("is there", {"name": "red", "gid": 4242}, CLEAN + "groupadd -g 4242 red", changed=False, result={"gid": 4242}),
    Case("is removed", {"name": "red", "state": "absent"}, CLEAN + "groupadd red", "getent group red", ""),
    Case("is gone already", {"name": "red", "state": "absent"}, CLEAN, changed=False),
    Case("somebody's primary group", {"name": "alice", "state": "absent"}, ALICE, fails="primary group of alice"),
    Case("a name that is a number of another", {"name": "4242"}, CLEAN + "groupadd -g 4242 red", fails="groupadd"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", USERS, ids=str)
def test_user(debian: LabHost, case: Case) -> None:
    prove(debian, "accounts.user", case)


@pytest.mark.lab
@pytest.mark.parametrize("case", GROUPS[:-1], ids=str)
def test_group(debian: LabHost, case: Case) -> None:
    prove(debian, "accounts.group", case)


@pytest.mark.lab
def test_a_preview_knows_accounts_that_earlier_tasks_would_make(bookworm: LabHost) -> None:
    bookworm.run(CLEAN)
    results = previews(
        bookworm,
        [
            ("accounts.group", {"name": "red", "gid": 4242}),
            ("accounts.user", {"name": "alice", "uid": 4711, "group": "red", "groups": ["red"]}),
            ("accounts.user", {"name": "alice", "shell": "/bin/sh"}),
            ("accounts.user", {"name": "alice", "shell": "/bin/bash"}),
            ("files.copy", {"content": "x", "dest": "/home/alice/note", "owner": "alice", "group": "red"}),
            ("accounts.user", {"name": "alice", "state": "absent", "remove": True}),
            ("accounts.user", {"name": "alice", "state": "absent"}),
        ],
    )
    assert [result.get("msg", "") for result in results] == [""] * 7
    assert [result["changed"] for result in results] == [True, True, False, True, True, True, False]


@pytest.mark.lab
def test_a_password_is_on_no_command_line(bookworm: LabHost) -> None:
    """Every program that the task starts is written down by a tracer of its own: PATH leads to wrappers."""
    bookworm.run(
        CLEAN + "rm -rf /run/traced; mkdir -p /run/traced; for tool in useradd usermod chpasswd chage; do "
        'printf \'#!/bin/sh\\necho "$0 $*" >> /run/traced/log\\nexec /usr/sbin/%s "$@"\\n\' $tool '
        "> /usr/local/sbin/$tool;"
        "sed -i 's#sbin/chage#bin/chage#' /usr/local/sbin/$tool; chmod +x /usr/local/sbin/$tool; done"
    )
    try:
        calls = [
            Call("accounts.user", {"name": "alice", "password": HASH}),
            Call("accounts.user", {"name": "alice", "password": OTHER, "password_expire_max": 5}),
        ]
        results = run_calls(bookworm, calls)
        said = bookworm.run("cat /run/traced/log").stdout
    finally:
        bookworm.run("cd /usr/local/sbin && rm -f useradd usermod chpasswd chage")
    assert [result["changed"] for result in results] == [True, True]
    assert "chpasswd -e" in said and "$6$" not in said
    assert HASH not in str(results) and OTHER not in str(results)


@pytest.mark.lab
def test_a_lock_leaves_keys_and_an_expiry_leaves_nothing(debian: LabHost) -> None:
    """What a login over SSH with a key then meets."""
    seen = []
    debian.run("cp -p /etc/shadow /root/shadow")
    for params in ({"password_lock": True}, {"expires": 86400}, {"expires": -1}):
        result = run_calls(debian, [Call("accounts.user", {"name": "plain", **params})])[0]
        assert not result.get("failed"), result
        seen.append(key_lets_in(debian, "plain"))
    debian.run("mv /root/shadow /etc/shadow")
    assert seen == [True, False, True]


def key_lets_in(host: LabHost, account: str) -> bool:
    """Whether the lab's key opens this account."""
    key = next(folder for folder in host.root.parents if (folder / "key").exists()) / "key"
    argv = ["ssh", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    argv += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", f"{account}@{host.address}", "id -un"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout == account + "\n"


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        (HASH, True), ("!" + HASH, True), ("!", True), ("*", True), ("*LK*", True), ("$y$j9T$salt$hash", True),
        ("ab01FAX.bQRSU", True), ("secret", False), ("$ecret", False), ("", True), ("thirteenchar!", False),
    ],
)  # fmt: skip
def test_what_looks_like_a_hash(text: str, hashed: bool) -> None:
    assert looks_hashed(text) is hashed
