"""An audit of real hosts: on a hardened one each item is undone by itself, and just that item turns red."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from opsplay.lab import HostSpec, LabHost
from opsplay.modules.hardening import _audit_exposure, _audit_firewall, _audit_kernel, _audit_watching, security_audit
from tests.lab.quick_lab import QuickLab
from tests.lab.quick_ucf import quick_ucf
from tests.lab.remote_module import _DRIVER, FOLDER, Call, run_calls, ship

MODULE = "hardening.security_audit"

# What a colleague would have done before; kernel.* and fs.* are this machine's own and stay as they are.
HARDENED = r"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -q update; apt-get -q install -y --no-install-recommends aide aide-common unattended-upgrades git
systemctl enable --now apt-daily.timer apt-daily-upgrade.timer; systemctl enable auditd
ufw default deny incoming; ufw allow 22/tcp
# ufw would set kernel parameters of its own each time that it starts.
sed -i 's/^IPT_SYSCTL=.*/IPT_SYSCTL=/' /etc/default/ufw; ufw --force enable
cat > /etc/ssh/sshd_config.d/10-hard.conf <<'E'
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
KexAlgorithms curve25519-sha256
Ciphers aes256-gcm@openssh.com
MACs hmac-sha2-512-etm@openssh.com
HostKeyAlgorithms ssh-ed25519
MaxAuthTries 3
LoginGraceTime 30
X11Forwarding no
AllowTcpForwarding no
AllowAgentForwarding no
AllowGroups root sudo
E
systemctl reload ssh
for way in all default; do for key in accept_redirects secure_redirects send_redirects; do
    sysctl -qw net.ipv4.conf.$way.$key=0; done
    sysctl -qw net.ipv4.conf.$way.accept_source_route=0 net.ipv4.conf.$way.log_martians=1 net.ipv4.conf.$way.rp_filter=1
    sysctl -qw net.ipv6.conf.$way.accept_redirects=0 net.ipv6.conf.$way.accept_source_route=0; done
sysctl -qw net.ipv4.tcp_rfc1337=1
printf '* hard core 0\n' > /etc/security/limits.d/hard.conf
sed -i 's/^UMASK.*/UMASK 027/' /etc/login.defs
chage -M 300 ops; rm /etc/sudoers.d/admin
printf -- '-w /etc/passwd -p wa -k identity\n' > /etc/audit/rules.d/hard.rules
printf 'database_in=file:/var/lib/aide/aide.db\ndatabase_out=file:/var/lib/aide/aide.db.new\n/etc/hosts p+u+sha256\n' \
    > /etc/aide/aide.conf
aide --config /etc/aide/aide.conf --init >/dev/null; mv /var/lib/aide/aide.db.new /var/lib/aide/aide.db
mkdir -p /etc/opsplay/tls /srv/app; cd /etc/opsplay/tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=good -days 90 \
    -keyout good.key -out good.crt 2>/dev/null
git init -q /srv/app; cd /srv/app; git config user.email a@example.org; git config user.name A
printf 'DB_PASSWORD=${DB_PASSWORD}\nTOKEN=changeme\n' > .env; echo 'password = input()' > main.py
git add .; git commit -qm one
systemctl is-active --quiet redis-server postgresql fail2ban
"""
# The packages' own archive, which an update of the tests' making is to come from.
UPDATE = r"""
rm -rf /srv/debian-security /tmp/b; mkdir -p /srv/debian-security /tmp/b/DEBIAN; cd /srv/debian-security
for v in 1 2; do printf 'Package: op-upd\nVersion: %s\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n' \
    $v > /tmp/b/DEBIAN/control; dpkg-deb -z0 --root-owner-group --build /tmp/b op-upd_$v.deb >/dev/null; done
dpkg -i op-upd_1.deb >/dev/null; d=op-upd_2.deb
{ dpkg-deb -f $d; echo Filename: ./$d; echo Size: $(stat -c %s $d); echo SHA256: $(sha256sum $d | cut -d' ' -f1); } > Packages
printf 'Label: Debian-Security\nSuite: stable-security\nDate: %s\nSHA256:\n %s %s Packages\n' "$(date -Ru -d 'AGE')" \
    $(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) > Release
echo 'deb [trusted=yes] file:/srv/debian-security ./' > /etc/apt/sources.list.d/upd.list
mkdir -p /tmp/lists; mv /var/lib/apt/lists/* /tmp/lists/
apt-get -q update -o Dir::Etc::sourcelist=/dev/null
"""
NO_UPDATE = (
    "dpkg -P op-upd; rm -rf /etc/apt/sources.list.d/upd.list /var/lib/apt/lists/* /srv/debian-security;"
    "mv /tmp/lists/* /var/lib/apt/lists/"
)
SECRET = "AKIA" + "QWERTYUIOPASDFGH"


@pytest.fixture(scope="module")
def hardened() -> Iterator[LabHost]:
    """A host on which every item is well, as far as a container can be."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    with QuickLab("audit") as lab:
        host = lab.up({"audited": HostSpec(release="bookworm", image="full")})["audited"]
        ship(host)
        quick_ucf(host)
        host.run(HARDENED, timeout=300)
        yield host


@pytest.fixture(scope="module")
def well(hardened: LabHost) -> dict[str, str]:
    """Each item's status before anything is undone."""
    return statuses(audit(hardened))


def audit(host: LabHost, **params: Any) -> dict[str, Any]:
    return run_calls(host, [Call(MODULE, params)])[0]


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {item["id"]: item["status"] for item in result["items"]}


def found(result: dict[str, Any], id: str) -> Any:
    return next(item["found"] for item in result["items"] if item["id"] == id)


def ssh(line: str) -> tuple[str, str]:
    """What undoes a setting of sshd: a file that comes first."""
    path = "/etc/ssh/sshd_config.d/00-soft.conf"
    return f"echo '{line}' > {path}; systemctl reload ssh", f"rm {path}; systemctl reload ssh"


def sysctl(key: str, bad: int, good: int) -> tuple[str, str]:
    return f"sysctl -qw {key}={bad}", f"sysctl -qw {key}={good}"


def line_in(path: str, line: str) -> tuple[str, str]:
    return f"cp -p {path} /tmp/kept; echo '{line}' >> {path}", f"cp -p /tmp/kept {path}"


def moved(path: str) -> tuple[str, str]:
    return f"mv {path} /tmp/kept", f"mv /tmp/kept {path}"


def mode(path: str, bad: str, good: str) -> tuple[str, str]:
    return f"chmod {bad} {path}", f"chmod {good} {path}"


def new(path: str, script: str) -> tuple[str, str]:
    return f"touch {path}; {script}", f"rm -rf {path}"


@dataclass(frozen=True)
class Undone:
    """An item that was undone, how it is put right again, and the ids that turn red."""

    name: str
    scripts: tuple[str, str]
    ids: tuple[str, ...]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


REDIS = (
    "redis-cli config set bind '0.0.0.0'; redis-cli config set protected-mode no",
    "redis-cli config set protected-mode yes; redis-cli config set bind '127.0.0.1 -::1'",
)
DEAR = ("updates", "files")
UNDONE = [
    Undone("the firewall down", ("ufw disable", "ufw --force enable"),
           ("firewall.active", "firewall.default-deny", "firewall.ipv6", "firewall.boot")),
    Undone("everything let in", ("ufw default allow incoming", "ufw default deny incoming"),
           ("firewall.default-deny", "firewall.ipv6")),
    Undone("no firewall at boot", ("systemctl disable ufw", "systemctl enable ufw"), ("firewall.boot",)),
    Undone("root with a password", ssh("PermitRootLogin yes"), ("ssh.root-login",)),
    Undone("passwords", ssh("PasswordAuthentication yes"), ("ssh.passwords",)),
    Undone("questions", ssh("KbdInteractiveAuthentication yes"), ("ssh.passwords",)),
    Undone("empty passwords by ssh", ssh("PermitEmptyPasswords yes"), ("ssh.empty-passwords",)),
    Undone("hosts that vouch", ssh("HostbasedAuthentication yes"), ("ssh.host-based",)),
    Undone("users' environment", ssh("PermitUserEnvironment yes"), ("ssh.user-environment",)),
    Undone("a weak key exchange", ssh("KexAlgorithms curve25519-sha256,ecdh-sha2-nistp256"), ("ssh.key-exchange",)),
    Undone("a weak cipher", ssh("Ciphers aes256-gcm@openssh.com,aes256-cbc"), ("ssh.ciphers",)),
    Undone("a weak code", ssh("MACs hmac-sha2-512-etm@openssh.com,hmac-sha1"), ("ssh.macs",)),
    Undone("a weak signature", ssh("HostKeyAlgorithms ssh-ed25519,ssh-rsa"), ("ssh.host-keys",)),
    Undone("many tries", ssh("MaxAuthTries 6"), ("ssh.tries",)),
    Undone("much time", ssh("LoginGraceTime 0"), ("ssh.grace",)),
    Undone("windows", ssh("X11Forwarding yes"), ("ssh.x11",)),
    Undone("tunnels", ssh("AllowTcpForwarding yes"), ("ssh.tcp-forwarding",)),
    Undone("agents", ssh("AllowAgentForwarding yes"), ("ssh.agent-forwarding",)),
    Undone("everybody", ("sed -i s/^AllowGroups/#AllowGroups/ /etc/ssh/sshd_config.d/10-hard.conf",
                         "sed -i s/^#AllowGroups/AllowGroups/ /etc/ssh/sshd_config.d/10-hard.conf"), ("ssh.allow-list",)),
    Undone("a host key for others", mode("/etc/ssh/ssh_host_ed25519_key", "640", "600"), ("ssh.files",)),
    Undone("no fail2ban", ("systemctl stop fail2ban", "systemctl start fail2ban; fail2ban-client ping"),
           ("intrusion.active", "intrusion.sshd")),
    Undone("no jail", ("fail2ban-client stop sshd", "fail2ban-client reload"), ("intrusion.sshd",)),
    Undone("no audit at boot", ("systemctl disable auditd", "systemctl enable auditd"), ("audit.boot",)),
    Undone("no audit rules", moved("/etc/audit/rules.d/hard.rules"), ("audit.rules",)),
    Undone("a kernel parameter", sysctl("net.ipv4.conf.all.log_martians", 0, 1),
           ("sysctl.net.ipv4.conf.all.log_martians",)),
    Undone("a kernel parameter with a bound", sysctl("net.ipv4.conf.all.rp_filter", 0, 1),
           ("sysctl.net.ipv4.conf.all.rp_filter",)),
    Undone("a kernel parameter of IPv6", sysctl("net.ipv6.conf.all.accept_redirects", 1, 0),
           ("sysctl.net.ipv6.conf.all.accept_redirects",)),
    Undone("no aide", moved("/usr/bin/aide"), ("integrity.installed",)),
    Undone("no database", moved("/var/lib/aide/aide.db"), ("integrity.database",)),
    Undone("an old database", ("touch -d '-60 days' /var/lib/aide/aide.db", "touch /var/lib/aide/aide.db"),
           ("integrity.database",)),
    Undone("no timer", ("systemctl stop dailyaidecheck.timer", "systemctl start dailyaidecheck.timer"),
           ("integrity.timer",)),
    Undone("core dumps", line_in("/etc/security/limits.d/hard.conf", "* hard core unlimited"), ("limits.core",)),
    Undone("a wide umask", ("sed -i 's/^UMASK.*/UMASK 022/' /etc/login.defs", "sed -i 's/^UMASK.*/UMASK 027/' /etc/login.defs"),
           ("limits.umask",)),
    Undone("a second root", ("useradd -o -u 0 toor", "sed -i /^toor:/d /etc/passwd /etc/shadow"),
           ("accounts.uid-0", "accounts.twins")),
    Undone("twins", ("useradd -o -u $(id -u ops) twin", "sed -i /^twin:/d /etc/passwd /etc/shadow"), ("accounts.twins",)),
    Undone("an empty password", ("useradd empty; passwd -d empty", "userdel empty"), ("accounts.empty-passwords",)),
    Undone("a weak hash", ("useradd -p '$1$abcdefgh$G6ybcuKZX4YQKMwtAHUHE1' -K PASS_MAX_DAYS=90 weak", "userdel weak"),
           ("accounts.hashes",)),
    Undone("a password without end", ("chage -M 99999 ops", "chage -M 300 ops"), ("accounts.password-age",)),
    Undone("a service that logs in",
           ("useradd -r -s /bin/sh -m serv; install -d ~serv/.ssh; echo key > ~serv/.ssh/authorized_keys; chown -R serv ~serv",
            "userdel -r serv"), ("accounts.system-shells",)),
    Undone("the accounts' file", mode("/etc/shadow", "644", "640"), ("accounts.files",)),
    Undone("sudo without a password", new("/etc/sudoers.d/soft", "echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/soft"),
           ("accounts.sudo",)),
    Undone("a home for all", mode("/home/ops", "775", "700"), ("accounts.homes",)),
    Undone("an update", (UPDATE.replace("AGE", "-1 hour"), NO_UPDATE), ("updates.security",)),
    Undone("an old update", (UPDATE.replace("AGE", "-5 days"), NO_UPDATE), ("updates.security", "updates.overdue")),
    Undone("old lists", ("touch -d '-9 days' /var/lib/apt/lists/partial", "touch /var/lib/apt/lists/partial"), ("updates.lists",)),
    Undone("no automatic updates", line_in("/etc/apt/apt.conf.d/20auto-upgrades", "APT::Periodic::Unattended-Upgrade \"0\";"),
           ("updates.automatic",)),
    Undone("no timer of apt", ("systemctl stop apt-daily-upgrade.timer", "systemctl start apt-daily-upgrade.timer"),
           ("updates.automatic",)),
    Undone("a restart is due", new("/run/reboot-required", "true"), ("updates.restart",)),
    Undone("a certificate that ends", new("/etc/opsplay/tls/bad.crt",
           "openssl req -x509 -key /etc/opsplay/tls/good.key -subj /CN=bad -days 5 -out /etc/opsplay/tls/bad.crt"),
           ("certificates.expiry",)),
    Undone("a key for all", mode("/etc/opsplay/tls/good.key", "644", "600"), ("certificates.keys",)),
    Undone("somebody listens", ("systemd-run -q --unit=ear python3 -m http.server 8099", "systemctl stop ear"),
           ("listening.unexpected",)),
    Undone("telnet", ("systemd-run -q --unit=ear python3 -m http.server 23", "systemctl stop ear"),
           ("listening.unexpected", "listening.plain")),
    Undone("Redis for all", REDIS, ("listening.unexpected", "listening.databases", "credentials.redis")),
    Undone("PostgreSQL trusts", ("echo 'host all all 192.0.2.0/24 trust' >> /etc/postgresql/15/main/pg_hba.conf",
                                 "sed -i '$d' /etc/postgresql/15/main/pg_hba.conf"), ("credentials.postgres",)),
    Undone("a file for all", new("/srv/open", "chmod 666 /srv/open"), ("files.world-writable",)),
    Undone("a folder for all", ("mkdir -m 777 /srv/open", "rmdir /srv/open"), ("files.sticky",)),
    Undone("nobody's file", new("/srv/lost", "chown 54321 /srv/lost"), ("files.unowned",)),
    Undone("a program that lends power", new("/usr/local/bin/lent", "chmod 4755 /usr/local/bin/lent"), ("files.setuid",)),
    Undone("a secret that is tracked", (f"cd /srv/app; echo key={SECRET} >> main.py; git commit -qam two",
                                        "cd /srv/app; git reset -q --hard HEAD~1"), ("secrets.git",)),
    Undone("a secret that was taken out again",
           (f"cd /srv/app; echo key={SECRET} >> gone.py; git add gone.py; git commit -qam in; git rm -q gone.py; git commit -qm out",
            "cd /srv/app; git reset -q --hard HEAD~2"), ("secrets.git",)),
    Undone("a secret in a branch", (f"cd /srv/app; git checkout -qb old; echo DB_PASSWORD={SECRET} >> .env; git commit -qam two;"
                                    "git checkout -q -", "cd /srv/app; git branch -qD old"), ("secrets.git",)),
    Undone("a private key in another's repository",
           ("cd /srv/app; cp /etc/opsplay/tls/good.key k; git add k; git commit -qm k; chown -R ops /srv/app",
            "chown -R root /srv/app; cd /srv/app; git reset -q --hard HEAD~1"), ("secrets.git",)),
    Undone("Docker's socket", ("python3 -c \"import socket; socket.socket(1).bind('/run/docker.sock')\"; chmod 666 /run/docker.sock",
                               "rm /run/docker.sock"), ("docker.socket",)),
    Undone("a job for all", mode("/etc/cron.daily/dpkg", "777", "755"), ("cron.files", "files.world-writable")),
    Undone("a job's program", (
        "touch /usr/local/bin/job; chmod 755 /usr/local/bin/job; chown ops /usr/local/bin/job;"
        "echo '1 1 * * * root /usr/local/bin/job' > /etc/cron.d/job", "rm /usr/local/bin/job /etc/cron.d/job"), ("cron.programs",)),
    Undone("a unit's program", (
        "touch /usr/local/bin/job; chmod 755 /usr/local/bin/job; chown ops /usr/local/bin/job;"
        "printf '[Service]\\nExecStart=/usr/local/bin/job x\\n' > /etc/systemd/system/job.service",
        "rm /usr/local/bin/job /etc/systemd/system/job.service"), ("cron.programs",)),
    Undone("failed logins", (
        "for i in 1 2 3 4 5 6 7 8 9 10 11; do logger -t sshd Failed password for root from 203.0.113.9 port 42$i ssh2; done;"
        "journalctl --sync", "journalctl --rotate; journalctl --vacuum-time=1s"), ("logins.failed",)),
]  # fmt: skip


@pytest.mark.parametrize("case", UNDONE, ids=str)
def test_what_is_undone_turns_red_and_nothing_else(hardened: LabHost, well: dict[str, str], case: Undone) -> None:
    hardened.run(case.scripts[0], timeout=60)
    # The two sections that take a second each are looked at where they are what is undone.
    own = {id.partition(".")[0] for id in case.ids}
    try:
        result = audit(hardened, sections=[name for name in security_audit.SECTIONS if name in own or name not in DEAR])
    finally:
        hardened.run(case.scripts[1], timeout=60, check=False)
    now = statuses(result)
    turned = {id for id, status in now.items() if status == "fail" and well[id] != "fail"}
    assert turned == set(case.ids), {id: found(result, id) for id in turned ^ set(case.ids)}
    assert SECRET not in json.dumps(result)
    assert not result["changed"]


def test_a_hardened_host_is_well_and_stays_as_it_was(hardened: LabHost, well: dict[str, str]) -> None:
    """After all that was undone and put right; what a container cannot show, or is not there, is not well."""
    result = audit(hardened)
    assert statuses(result) == well
    red = {item["id"] for item in result["items"] if item["status"] == "fail"}
    assert {id for id in red if not id.startswith(("sysctl.kernel", "sysctl.fs", "sysctl.dev"))} == set()
    assert result["score"] >= 90
    assert not [item for item in result["items"] if "check itself failed" in str(item["found"])]


def test_a_secret_is_told_by_its_place(hardened: LabHost) -> None:
    hardened.run(f"cd /srv/app; printf 'a\\nb\\n{SECRET}\\n' > notes; git add notes; git commit -qm n")
    try:
        result = audit(hardened, sections=["secrets"])
    finally:
        hardened.run("cd /srv/app; git reset -q --hard HEAD~1")
    assert found(result, "secrets.git") == ["/srv/app/notes:3: AWS access key"]


def test_a_watched_file_that_changed(hardened: LabHost) -> None:
    calls = {"sections": ["integrity"], "run_aide": True}
    assert statuses(audit(hardened, **calls))["integrity.files"] == "ok"
    hardened.run("cp -p /etc/hosts /tmp/hosts; echo 192.0.2.1 bank >> /etc/hosts")
    try:
        result = audit(hardened, **calls)
    finally:
        hardened.run("cp -p /tmp/hosts /etc/hosts")
    assert statuses(result)["integrity.files"] == "fail" and "/etc/hosts" in str(found(result, "integrity.files"))


GRAFANA = """
import base64, http.server, time
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.headers["Authorization"] == "Basic " + base64.b64encode(b"admin:PASSWORD").decode()
        self.send_response(200 if self.path == "/api/health" or good else 401)
        self.end_headers()
        time.sleep(0.2)
        self.wfile.write(b'{"database": "ok"}')
http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Answers).serve_forever()
"""


@pytest.mark.parametrize(("password", "status"), [("admin", "fail"), ("other", "ok")])
def test_a_default_password_of_grafana(hardened: LabHost, password: str, status: str) -> None:
    """Debian has no Grafana: what answers is as its documentation says, in two pieces."""
    hardened.run(["systemd-run", "-q", "--collect", "--unit=graf", "python3", "-c", GRAFANA.replace("PASSWORD", password)])
    try:
        hardened.run("for i in $(seq 50); do curl -fsm 2 -o /dev/null 127.0.0.1:3000/api/health && exit; sleep 0.2; done; exit 1")
        assert statuses(audit(hardened, sections=["credentials"]))["credentials.grafana"] == status
    finally:
        hardened.run("systemctl stop graf", check=False)


def test_fail_on(hardened: LabHost) -> None:
    hardened.run("mkdir -m 777 /srv/open; touch /srv/lost; chown 54321 /srv/lost")
    try:
        results = [audit(hardened, sections=["files"], fail_on=level) for level in ("none", "low", "medium", "high")]
        accepted = audit(hardened, sections=["files"], fail_on="low", skip=["files.sticky"],
                         accept={"files.unowned": "moved from another host"})  # fmt: skip
    finally:
        hardened.run("rm -r /srv/open /srv/lost")
    assert [bool(result.get("failed")) for result in results] == [False, True, True, False]
    assert [result.get("msg") for result in results] == [
        None,
        "2 of 4 items fail at low or above: files.sticky (medium), files.unowned (low)",
        "1 of 4 items fail at medium or above: files.sticky (medium)",
        None,
    ]
    assert results[0]["failures"] == {"info": 0, "low": 1, "medium": 1, "high": 0, "critical": 0}
    assert results[1]["counts"]["fail"] == 2, "a report is in the result of a task that fails, too"
    assert "msg" not in accepted
    assert accepted["counts"] == {"ok": 2, "fail": 0, "accepted": 1, "unknown": 0, "skipped": 0}


REFUSED = [
    ({"skip": ["ssh.root"]}, "skip: there is no item ssh.root; there are ssh.agent-forwarding, ssh.allow-list"),
    ({"accept": {"nonsense": "why"}}, "accept: there is no item nonsense; an id begins with one of firewall, ssh"),
    ({"accept": {"ssh.x11": " "}}, "accept: say why ssh.x11 may fail"),
]


@pytest.mark.parametrize(("params", "says"), REFUSED)
def test_what_is_refused(bookworm: LabHost, params: dict[str, Any], says: str) -> None:
    result = audit(bookworm, **params)
    assert result["failed"] is True and says in result["msg"]


def test_every_release_and_the_preview(debian: LabHost) -> None:
    """A bare host of each release: each item has an answer, and a preview has the same."""
    debian.run("touch /run/mark")
    real, preview = run_calls(debian, [Call(MODULE, {}), Call(MODULE, {}, check=True)])
    assert not [item for item in real["items"] if "check itself failed" in str(item["found"])]
    assert statuses(real)["firewall.active"] == "fail" and not real["changed"]
    assert {key: real[key] for key in ("items", "counts", "score")} == {key: preview[key] for key in ("items", "counts", "score")}
    assert debian.run("find /etc /usr /var/lib -newer /run/mark -not -path '/var/lib/systemd/*' -type f").stdout == ""


def test_a_preview_after_others_does_not_judge(bookworm: LabHost) -> None:
    calls = [("files.copy", {"dest": "/etc/new", "content": "x"}), (MODULE, {"fail_on": "low"})]
    *_, last = run_calls(bookworm, [Call(module, params, check=True) for module, params in calls])
    assert not last.get("failed")
    assert set(last["_unknown"]) == {"items", "counts", "failures", "score"}


def test_an_ordinary_account(hardened: LabHost, well: dict[str, str]) -> None:
    """What only root may look at is unknown, and says so; the rest is as root finds it."""
    calls = json.dumps([vars(Call(MODULE, {}))])
    argv = ["setpriv", "--reuid=plain", "--regid=plain", "--init-groups", "python3", "-I", "-S", "-c"]
    done = hardened.run([*argv, _DRIVER % {"folder": FOLDER}], stdin=calls, timeout=60)
    result = json.loads(done.stdout)[0]
    now = statuses(result)
    for id in ("firewall.active", "ssh.root-login", "accounts.empty-passwords", "accounts.sudo", "intrusion.sshd",
               "logins.failed", "integrity.database", "files.setuid"):  # fmt: skip
        assert now[id] == "unknown", id
    assert all(now[id] == status for id, status in well.items() if now[id] not in ("unknown", "skipped"))
    assert now["sysctl.net.ipv4.tcp_syncookies"] == "ok" and now["accounts.uid-0"] == "ok"
    assert not [item for item in result["items"] if "check itself failed" in str(item["found"])]


def test_a_section_ends_in_time(hardened: LabHost) -> None:
    """A program that hangs, and a check that breaks, cost their own item."""
    hardened.run("printf '#!/bin/sh\\nsleep 60\\n' > /usr/local/sbin/sshd; chmod 755 /usr/local/sbin/sshd")
    try:
        result = audit(hardened, sections=["ssh", "kernel"], timeout=1)
    finally:
        hardened.run("rm /usr/local/sbin/sshd")
    assert result["_seconds"] < 10
    assert "did not end within" in found(result, "ssh.x11")
    assert statuses(result)["sysctl.net.ipv4.tcp_syncookies"] == "ok"


# --- pure parts ---


def test_every_item_has_a_name_of_its_own() -> None:
    checks = [check for section in security_audit.SECTIONS.values() for check in section]
    assert len({check.id for check in checks}) == len(checks)
    assert all(check.severity in security_audit.SEVERITIES and check.wanted and check.remedy for check in checks)


@pytest.mark.parametrize(
    ("value", "wanted", "fits"),
    [("1", "1", True), ("0", "1", False), ("2", ">=1", True), ("0", ">=1", False), ("176", "<=176", True),
     ("1", "<=0", False), ("4 4 1 7", "4  4\t1 7", True), ("x", ">=1", False)],
)  # fmt: skip
def test_values_of_kernel_parameters(value: str, wanted: str, fits: bool) -> None:
    assert _audit_kernel.fits(value, wanted) is fits


INVALID = "Invalid user bob from 192.0.2.7 port 4001"
CLOSED = "Connection closed by invalid user bob 192.0.2.7 port 4001 [preauth]"
WRONG = "Failed password for invalid user bob from 192.0.2.7 port 4001 ssh2"


@pytest.mark.parametrize(
    ("lines", "count"),
    [([], 0), ([INVALID, CLOSED], 1), ([INVALID, WRONG, WRONG, CLOSED], 2), ([INVALID, INVALID.replace("4001", "4002")], 2),
     (["Accepted publickey for ops from 192.0.2.7 port 4001 ssh2", "Disconnected from user ops 192.0.2.7 port 4001"], 0),
     (["Connection closed by authenticating user root 192.0.2.7 port 5 [preauth]"], 1)],
)  # fmt: skip
def test_failed_logins_are_counted_once(lines: list[str], count: int) -> None:
    assert _audit_watching.failures(lines) == count


NFT = """table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established accept
		tcp dport 22 accept
		tcp dport 22 counter jump f2b-sshd
		drop
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
table inet f2b-table {
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport 22 ip saddr @addr-set-sshd reject
	}
}
table ip6 other {
	set s {
		type ipv6_addr
	}
	chain in {
		type filter hook input priority 0; policy drop;
	}
}
"""


def test_chains_of_nftables() -> None:
    found = _audit_firewall.parsed(NFT)
    assert [(chain["family"], chain["drops"], chain["rules"]) for chain in found] == [("inet", True, 3), ("ip6", True, 0)]


def test_sockets() -> None:
    text = (
        'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))\n'
        "udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*\ntcp LISTEN 0 1 [::]:80 [::]:*\ntcp LISTEN 0 1 *:9 *:*\n"
        "tcp LISTEN 0 5 [::ffff:127.0.0.1]:8125 *:*\n"
    )
    found = _audit_exposure.parsed(text)
    assert [(one.port, one.is_open) for one in found] == [(22, True), (53, False), (80, True), (9, True), (8125, False)]
    assert str(found[0]) == "22/tcp at 0.0.0.0 (sshd)"
