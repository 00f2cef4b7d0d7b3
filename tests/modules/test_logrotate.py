"""Files of logrotate, judged and run by the real one, as tables: state before, parameters, outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from opsplay.lab import LabHost
from opsplay.modules.scheduling._rotation import named_logs, overlapping, split_quoted
from tests.lab.remote_module import run_module
from tests.modules.cases import Case, previews, prove

MODULE = "scheduling.logrotate"
FOLDER = "/etc/logrotate.d"


@pytest.fixture(scope="module")
def rotating(fleet: Mapping[str, LabHost]) -> Iterator[Mapping[str, LabHost]]:
    """The hosts, with logrotate."""
    for host in fleet.values():
        host.run("apt-get update -q && apt-get install -qy --no-install-recommends logrotate", timeout=120)
    yield fleet
    for host in fleet.values():
        host.run("apt-get purge -qy logrotate; apt-get clean; rm -rf /var/lib/apt/lists/*; " + FRESH, timeout=60)


@pytest.fixture
def host(rotating: Mapping[str, LabHost], debian: LabHost) -> LabHost:
    return debian


# Back to: no file of ours, one log.
FRESH = f"rm -rf {FOLDER}/r-* /srv/r; mkdir -p /srv/r; seq 1000 > /srv/r/a.log; chmod 755 /srv /srv/r;"
WEEKLY = {"name": "r-app", "paths": ["/srv/r/*.log"], "frequency": "weekly", "rotate": 12, "compress": True,
          "create": {"mode": "0640", "owner": "root", "group": "adm"}}  # fmt: skip
WEEKLY_TEXT = "/srv/r/*.log {\n    weekly\n    rotate 12\n    compress\n    create 0640 root adm\n}\n"
LOOK = f"cat {FOLDER}/r-app; stat -c '%a %U' {FOLDER}/r-app"


def other(text: str, name: str = "r-other") -> str:
    return FRESH + f"printf '{text}' > {FOLDER}/{name};"


CASES = [
    Case("is installed", WEEKLY, FRESH, LOOK, WEEKLY_TEXT + "644 root", result={"path": f"{FOLDER}/r-app"}),
    Case("is there already", WEEKLY, FRESH + f"printf '{WEEKLY_TEXT}' > {FOLDER}/r-app", changed=False),
    Case("mended by its mode", WEEKLY, FRESH + f"printf '{WEEKLY_TEXT}' > {FOLDER}/r-app; chmod 666 {FOLDER}/r-app",
         LOOK, WEEKLY_TEXT + "644 root"),
    Case("all of it", {
            "name": "r-app", "paths": ["/srv/r/a.log", "/srv/r/b c.log"], "frequency": "daily", "rotate": 7, "start": 0,
            "minsize": "1k", "maxsize": "10M", "maxage": 30, "compress": True, "delaycompress": True,
            "missingok": True, "notifempty": True, "copytruncate": True, "dateext": True, "dateformat": "-%%Y%%m%%d",
            "sharedscripts": True, "su": "root adm", "olddir": "/srv/r/old", "options": ["compresscmd /bin/gzip"],
            "postrotate": "if true; then\n  echo done\nfi\n"}, FRESH + "mkdir /srv/r/old", LOOK,
         '/srv/r/a.log\n"/srv/r/b c.log" {\n    daily\n    rotate 7\n    start 0\n    minsize 1k\n    maxsize 10M\n'
         "    maxage 30\n    dateformat -%%Y%%m%%d\n    olddir /srv/r/old\n    su root adm\n    compress\n"
         "    delaycompress\n    missingok\n    notifempty\n    copytruncate\n    dateext\n    sharedscripts\n"
         "    compresscmd /bin/gzip\n    postrotate\n        if true; then\n          echo done\n        fi\n"
         "    endscript\n}\n644 root"),
    Case("switches that are off", {"name": "r-app", "paths": "/srv/r/a.log", "compress": False, "notifempty": False,
                                   "create": False, "dateext": False}, FRESH, f"cat {FOLDER}/r-app",
         "/srv/r/a.log {\n    nocompress\n    ifempty\n    nodateext\n    nocreate\n}"),
    Case("goes", {"name": "r-app", "state": "absent"}, other("/srv/r/a.log {\\n}\\n", "r-app"), f"ls {FOLDER} | grep r-",
         ""),
    Case("is gone already", {"name": "r-app", "state": "absent"}, FRESH, changed=False),
    Case("another file has the log", WEEKLY, other("weekly\\n/var/log/x.log /srv/r/a.log {\\n  daily\\n}\\n"),
         f"ls {FOLDER}", fails=f"/srv/r/*.log is rotated by {FOLDER}/r-other already (/srv/r/a.log)"),
    Case("another file's pattern has it, which is not there yet", {"name": "r-app", "paths": "/srv/r/later.log"},
         other("/srv/r/l*.log {\\n  daily\\n}\\n"), f"ls {FOLDER}", fails=f"{FOLDER}/r-other already"),
    Case("two patterns meet", {"name": "r-app", "paths": "/srv/r/?.log"}, other("/srv/*/a.log {\\n  daily\\n}\\n"),
         f"ls {FOLDER}", fails="/srv/r/a.log is rotated by"),
    Case("the other is behind in the alphabet", {**WEEKLY, "name": "r-a"}, other("/srv/r/a.log {\\n  daily\\n}\\n"),
         f"ls {FOLDER}", fails=f"{FOLDER}/r-other already"),
    Case("a file that logrotate passes over", WEEKLY, other("/srv/r/a.log {\\n}\\n", "r-old.bak"), LOOK,
         WEEKLY_TEXT + "644 root"),
    Case("another file is wrong", WEEKLY, other("/srv/r/x.txt {\\n  daly\\n}\\n"), LOOK, WEEKLY_TEXT + "644 root"),
    Case("a log that is not there yet", {**WEEKLY, "paths": "/srv/r/later.log"}, FRESH, warns="give missingok: true"),
    Case("a log that may be missing", {**WEEKLY, "paths": "/srv/r/later.log", "missingok": True}, FRESH),
    Case("the same path twice", {**WEEKLY, "paths": ["/srv/r/a.log", "/srv/r/*.log"]}, FRESH, fails="stands for"),
    Case("an option that there is not", {**WEEKLY, "options": ["comprss"]}, FRESH, f"ls {FOLDER}", fails="'comprss'"),
    Case("no such owner", {**WEEKLY, "create": {"mode": "0640", "owner": "nosuch", "group": "adm"}}, FRESH,
         f"ls {FOLDER}", fails="nosuch"),
    Case("no such old folder", {**WEEKLY, "olddir": "/srv/r/none"}, FRESH, f"ls {FOLDER}", fails="/srv/r/none"),
    Case("a folder that anybody may write to", WEEKLY, FRESH + "chmod 777 /srv/r", f"ls {FOLDER}",
         fails="insecure permissions"),
    Case("such a folder with su", {**WEEKLY, "su": "root adm"}, FRESH + "chmod 777 /srv/r"),
    Case("a script that is none", {**WEEKLY, "postrotate": "if true\nfi"}, FRESH, fails="the shell cannot read it"),
    Case("no paths", {"name": "r-app"}, fails="paths is needed"),
    Case("a relative path", {"name": "r-app", "paths": "a.log"}, fails="no whole path"),
    Case("no size", {**WEEKLY, "size": "10 MB"}, fails="'10 MB' is no size"),
    Case("a copy and a new log", {**WEEKLY, "copytruncate": True}, fails="create has no effect"),
    Case("a name that is passed over", {**WEEKLY, "name": "r-app.bak"}, fails="passes over"),
    Case("an end of the script", {**WEEKLY, "postrotate": "true\n endscript\nrm x"}, fails="is written by this module"),
    Case("an option with a script", {**WEEKLY, "options": ["postrotate"]}, fails="scripts have parameters"),
    Case("old logs again", {"name": "r-app", "paths": ["/srv/r/*"], "rotate": 1}, FRESH, warns="rotated again"),
    Case("hourly on a daily timer", {**WEEKLY, "frequency": "hourly"}, FRESH, warns="once a day"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES, ids=str)
def test_files_of_logrotate(host: LabHost, case: Case) -> None:
    prove(host, MODULE, case)


@pytest.mark.lab
def test_logs_are_rotated_as_it_says(host: LabHost) -> None:
    host.run(FRESH)
    script = "echo rotated >> /srv/r/told"
    run_module(host, MODULE, {**WEEKLY, "paths": ["/srv/r/a.log"], "rotate": 2, "postrotate": script})
    host.run("for n in 1 2 3; do echo $n > /srv/r/a.log; logrotate -f --state /run/r-state /etc/logrotate.conf; done")
    seen = host.run("cd /srv/r; ls; stat -c '%a %U:%G' a.log; wc -l < told; zcat a.log.1.gz a.log.2.gz").stdout
    assert seen.split() == ["a.log", "a.log.1.gz", "a.log.2.gz", "told", "640", "root:adm", "3", "3", "2"]


@pytest.mark.lab
def test_a_preview_knows_what_earlier_tasks_would_bring(rotating: Mapping[str, LabHost]) -> None:
    host = rotating["bookworm"]
    host.run(FRESH)
    new = {"name": "r-new", "paths": ["/srv/r/new.log"], "olddir": "/srv/r/old",
           "create": {"mode": "0600", "owner": "newcomer", "group": "newcomer"}}  # fmt: skip
    results = previews(
        host,
        [
            (MODULE, new),
            ("accounts.user", {"name": "newcomer"}),
            ("files.file", {"path": "/srv/r/old", "state": "directory"}),
            (MODULE, new),
            (MODULE, new),
            (MODULE, {**new, "name": "r-again"}),
            (MODULE, {"name": "r-new", "state": "absent"}),
            (MODULE, {**new, "name": "r-again"}),
        ],
    )
    assert [bool(result.get("failed")) for result in results] == [True, *[False] * 4, True, False, False], results
    assert [result["changed"] for result in results] == [False, True, True, True, False, False, True, True]
    assert f"{FOLDER}/r-new already" in results[5]["msg"]


@pytest.mark.lab
def test_without_the_program(bookworm: LabHost) -> None:
    """The package is missing: a run says so, a preview goes on when it would be installed before."""
    bookworm.run("mkdir -p /srv/r; if test -e /usr/sbin/logrotate; then mv /usr/sbin/logrotate /usr/sbin/.logrotate; fi")
    try:
        result = run_module(bookworm, MODULE, WEEKLY)
        assert result["failed"] and "install the package logrotate first" in result["msg"]
        install = ("packages.apt", {"name": "figlet", "update_cache": True})
        assert [step["changed"] for step in previews(bookworm, [install, (MODULE, WEEKLY)])] == [True, True]
    finally:
        bookworm.run("if test -e /usr/sbin/.logrotate; then mv /usr/sbin/.logrotate /usr/sbin/logrotate; fi")


FILE = """# x {
weekly
su root adm
/var/log/a.log
"/var/log/b c.log" '/var/log/d' {
    daily
    postrotate
        if true; then { true; }
        fi
        /usr/bin/x { y
    endscript
}
/var/log/e { rotate 1 }
include /etc/x
~/f {
}
"""


def test_entries_of_other_files_are_found() -> None:
    assert named_logs(FILE) == ["/var/log/a.log", "/var/log/b c.log", "/var/log/d", "/var/log/e", "~/f"]
    assert named_logs("") == []
    assert split_quoted(" a  'b c'\"d\" ") == ["a", "b cd"]


@pytest.mark.parametrize(
    ("mine", "others", "found"),
    [
        (["/a/x.log"], ["/a/*.log"], ("/a/x.log", "/a/*.log")),
        (["/a/*.log"], ["/a/x.log"], ("/a/*.log", "/a/x.log")),
        (["/a/*.log"], ["/a/*.log"], ("/a/*.log", "/a/*.log")),
        (["/a/*.log"], ["/a/b/x.log"], None),
        (["/a/[xy].log"], ["/a/z.log", "/a/y.log"], ("/a/[xy].log", "/a/y.log")),
        (["/a/x.log"], [], None),
    ],
)
def test_patterns_that_meet(mine: list[str], others: list[str], found: tuple[str, str] | None) -> None:
    assert overlapping(mine, others) == found
