"""What there is to collect on this host, in the order in which it would be lost."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from opsplay.agent.host import Host

# Each: part, file, and a command line, or the name of something that this agent finds out by itself.
# A line whose program is not installed is left out; the first of several for one file counts.
COMMANDS = (
    ("volatile", "processes.jsonl", "own:processes"),
    (
        "volatile",
        "processes.txt",
        "ps -eo user,uid,pid,ppid,pgid,tty,stat,lstart,etime,pcpu,pmem,rss,args --forest -ww",
    ),
    ("volatile", "sockets.txt", "ss -a -n -p -e -o -t -u -w -x"),
    ("volatile", "sockets-of-the-kernel.txt", "own:net"),
    ("volatile", "open-files.jsonl", "own:open_files"),
    ("volatile", "deleted-but-open.jsonl", "own:deleted"),
    ("volatile", "logins-now.txt", "who --all"),
    ("volatile", "sessions.txt", "loginctl list-sessions --no-pager"),
    ("volatile", "kernel-modules.txt", "own:modules"),
    ("volatile", "mounts.txt", "own:mounts"),
    ("volatile", "addresses.txt", "ip -d address show"),
    ("volatile", "routes.txt", "ip route show table all"),
    ("volatile", "neighbours.txt", "ip neighbour show"),
    ("volatile", "firewall-nft.txt", "nft list ruleset"),
    ("volatile", "firewall-iptables.txt", "iptables-save -c"),
    ("volatile", "firewall-ip6tables.txt", "ip6tables-save -c"),
    ("volatile", "kernel-messages.txt", "dmesg"),
    ("volatile", "memory.txt", "own:memory"),
    ("volatile", "shared-memory.txt", "ipcs -a"),
    ("containers", "containers.txt", "docker ps --all --no-trunc --size"),
    ("containers", "containers.json", "own:docker"),
    ("logins", "last.txt", "last -F -w -i"),
    ("logins", "last-failed.txt", "lastb -F -w -i"),
    ("logins", "lastlog.txt", "lastlog"),
    ("accounts", "accounts.tar.gz", "tar:accounts"),
    ("accounts", "users.txt", "getent passwd"),
    ("accounts", "groups.txt", "getent group"),
    ("clockwork", "timers.txt", "systemctl list-timers --all --no-pager --full"),
    ("clockwork", "units.txt", "systemctl list-units --all --no-pager --full"),
    ("clockwork", "unit-files.txt", "systemctl list-unit-files --no-pager --full"),
    ("clockwork", "clockwork.tar.gz", "tar:clockwork"),
    ("system", "system.txt", "own:system"),
    ("system", "settings.tar.gz", "tar:settings"),
    ("packages", "packages.txt", "dpkg-query -W -f ${db:Status-Abbrev}\\t${Package}\\t${Version}\\t${Architecture}\\n"),
    ("packages", "packages-changed.txt", "dpkg --verify"),
    ("changes", "changed-files.tsv", "own:changed"),
    ("changes", "set-id-files.tsv", "own:set_id"),
    ("logs", "journal.txt", "journalctl --no-pager --quiet -o short-iso-precise --utc --since {since}"),
    ("logs", "logs.tar.gz", "tar:logs"),
    ("paths", "paths.tar.gz", "tar:paths"),
)
PARTS = ("volatile", "containers", "databases", "logins", "accounts", "clockwork", "system", "packages", "changes",
         "logs", "paths")  # fmt: skip

# Where PostgreSQL's servers listen on Debian, and what is asked of each.
SOCKETS = "/var/run/postgresql"
DATABASES = (
    ("sessions", "SELECT * FROM pg_stat_activity ORDER BY backend_start"),
    ("roles", "SELECT * FROM pg_roles ORDER BY rolname"),
    ("members", "SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members ORDER BY 1, 2"),
    ("databases", "SELECT datname, pg_get_userbyid(datdba) AS owner, datacl FROM pg_database ORDER BY 1"),
    ("access-rules", "SELECT * FROM pg_hba_file_rules ORDER BY line_number"),
    ("settings", "SELECT name, setting, source, sourcefile FROM pg_settings WHERE source <> 'default' ORDER BY 1"),
)

HOME_FILES = (".ssh", ".bash_history", ".zsh_history", ".python_history", ".psql_history", ".mysql_history", ".lesshst",
              ".viminfo", ".wget-hsts", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshrc",
              ".pam_environment", ".config/systemd/user", ".config/autostart", ".forward", ".rhosts")  # fmt: skip
ARCHIVES = {
    "accounts": ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/passwd-", "/etc/shadow-",
                 "/etc/sudoers", "/etc/sudoers.d", "/etc/pam.d", "/etc/security", "/etc/ssh", "/etc/login.defs"),
    "clockwork": ("/etc/crontab", "/etc/anacrontab", "/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily",
                  "/etc/cron.weekly", "/etc/cron.monthly", "/var/spool/cron", "/var/spool/at", "/etc/systemd/system",
                  "/run/systemd/system", "/usr/local/lib/systemd", "/etc/init.d", "/etc/rc.local"),
    "settings": ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/os-release", "/etc/ld.so.preload",
                 "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/profile", "/etc/profile.d", "/etc/bash.bashrc",
                 "/etc/environment", "/etc/modules", "/etc/modules-load.d", "/etc/modprobe.d", "/etc/sysctl.conf",
                 "/etc/sysctl.d", "/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/network",
                 "/etc/udev/rules.d", "/etc/nftables.conf", "/etc/ufw", "/etc/audit", "/etc/rsyslog.conf",
                 "/etc/rsyslog.d"),
    "logs": ("/var/log", "/run/log/journal"),
}  # fmt: skip


def plan(host: Host, wanted: Any) -> List[Dict[str, Any]]:
    """The items of the wanted parts that this host can give: part, file, and kind with what it needs."""
    parts, days, environments, paths = (wanted[name] for name in ("parts", "days", "environments", "paths"))
    items: List[Dict[str, Any]] = []
    for part, name, how in COMMANDS:
        if part not in parts:
            continue
        kind, _, rest = how.partition(":") if how.startswith(("own:", "tar:")) else ("run", "", how)
        item: Dict[str, Any] = {"part": part, "file": "%s/%s" % (part, name), "kind": kind}
        if kind == "run":
            words = [word.replace("{since}", "-%dd" % days) for word in rest.split(" ")]
            if host.which(words[0]) is None or (words[0] == "docker" and not has_docker()):
                continue
            item["argv"] = words
        elif rest == "docker" and not has_docker() or rest == "paths" and not paths:
            continue
        else:
            item["what"] = rest
        items.append(item)
    if "volatile" in parts and environments:
        place = next(number for number, item in enumerate(items) if item["file"] == "volatile/processes.txt")
        items.insert(place, {"part": "volatile", "file": "volatile/environments.jsonl", "kind": "own",
                             "what": "environments"})  # fmt: skip
    if "containers" in parts and has_docker():
        done = host.query(["docker", "ps", "--all", "--quiet", "--no-trunc"], timeout=30)
        for one in done.stdout.split():
            items.append({"part": "containers", "file": "containers/%s.log" % one[:12], "kind": "run",
                          "argv": ["docker", "logs", "--timestamps", one]})  # fmt: skip
    if "databases" in parts:
        items += of_databases(host, wanted["queries"])
    # As they stand in PARTS; what belongs to one part stays in its order.
    return sorted(items, key=lambda item: PARTS.index(item["part"]))


def of_databases(host: Host, queries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """What each PostgreSQL server here says of itself, and the rows that were asked for; nothing can be written."""
    names = os.listdir(SOCKETS) if os.path.isdir(SOCKETS) and host.which("psql") else []
    ports = sorted(name.rpartition(".")[2] for name in names if name.startswith(".s.PGSQL.") and name[9:].isdigit())
    items = []
    for port in ports:
        for name, sql in DATABASES:
            items.append(answer("databases/%s-%s.csv" % (port, name), port, "postgres", sql))
    for query in queries if ports else []:
        port = str(query.get("port") or ("5432" if "5432" in ports else ports[0]))
        items.append(answer("databases/%s.csv" % query["name"], port, query.get("db") or "postgres", query["sql"]))
    return items


def answer(file: str, port: str, database: str, sql: str) -> Dict[str, Any]:
    """An item: the rows of a query, with a header, as the account that owns the server."""
    where = "dbname=%s options='-c default_transaction_read_only=on'" % database
    own = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
    argv = own + ["psql", "-X", "-w", "--csv", "-h", SOCKETS, "-p", port, "-d", where, "-c", sql]
    return {"part": "databases", "file": file, "kind": "run", "argv": argv}


def has_docker() -> bool:
    return os.path.exists("/var/run/docker.sock")


def homes() -> List[str]:
    """The homes of all accounts, each once."""
    import pwd

    return sorted({entry.pw_dir for entry in pwd.getpwall() if entry.pw_dir.startswith("/") and entry.pw_dir != "/"})


def paths_of(what: str, given: List[str]) -> List[str]:
    """The files and folders of an archive."""
    found = list(given) if what == "paths" else list(ARCHIVES[what])
    if what == "accounts":
        found += [os.path.join(home, name) for home in homes() for name in HOME_FILES]
    return found
