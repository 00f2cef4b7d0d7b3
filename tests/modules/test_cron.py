"""Crontabs, as tables: the text before, what is done, the text after; and on real hosts through the crontab program."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from opsplay.lab import LabHost
from opsplay.modules.scheduling._crontab import Crontab, job_line, variable_name
from tests.lab.remote_module import run_module
from tests.modules.cases import Case, previews, prove

FOREIGN = "# by hand\nMAILTO=root\n\n5 * * * * /usr/local/bin/mine  # keep\n"


def put(*lines: str) -> str:
    """A script that makes just these lines root's crontab."""
    text = "".join(line + "\n" for line in lines)
    return f"crontab -u root - <<'E'\n{text}E\n" if lines else "crontab -u root -r 2>/dev/null; true"


CASES = [
    Case("a job is added", {"name": "nightly", "job": "run", "minute": "0", "hour": "3"}, put("5 * * * * mine"),
         "crontab -u root -l", "5 * * * * mine\n#Ansible: nightly\n0 3 * * * run",
         result={"jobs": ["nightly"], "envs": []}),
    Case("the first job", {"name": "a", "job": "run"}, put(), "crontab -u root -l", "#Ansible: a\n* * * * * run"),
    Case("a job is changed", {"name": "a", "job": "new", "weekday": "1-5"}, put("#Ansible: a", "* * * * * old", "#z"),
         "crontab -u root -l", "#Ansible: a\n* * * * 1-5 new\n#z"),
    Case("a job by a name of its time", {"name": "a", "job": "run", "special_time": "reboot"}, put(),
         "crontab -u root -l",
         "#Ansible: a\n@reboot run"),
    Case("a job is switched off", {"name": "a", "job": "run", "disabled": True}, put("#Ansible: a", "* * * * * run"),
         "crontab -u root -l", "#Ansible: a\n#* * * * * run"),
    Case("a job is there", {"name": "a", "job": "run"}, put("#Ansible: a", "* * * * * run"), changed=False),
    Case("a job written by hand gets its name", {"name": "a", "job": "run"}, put("#x", "* * * * * run"),
         "crontab -u root -l", "#x\n#Ansible: a\n* * * * * run"),
    Case("a job goes", {"name": "a", "state": "absent"}, put("#x", "#Ansible: a", "* * * * * run", "#y"),
         "crontab -u root -l", "#x\n#y"),
    Case("no such job", {"name": "a", "state": "absent"}, put("* * * * * run"), changed=False),
    Case("a variable", {"name": "PATH", "env": True, "job": "/bin:/sbin"}, put("A=1", "* * * * * run"),
         "crontab -u root -l", 'PATH="/bin:/sbin"\nA=1\n* * * * * run', result={"envs": ["PATH", "A"]}),
    Case("a variable after another", {"name": "B", "env": True, "value": "2", "insertafter": "A"}, put("A=1", "C=3"),
         "crontab -u root -l", 'A=1\nB="2"\nC=3'),
    Case("a variable before another", {"name": "B", "env": True, "value": "2", "insertbefore": "C"}, put("A=1", "C=3"),
         "crontab -u root -l", 'A=1\nB="2"\nC=3'),
    Case("a variable goes", {"name": "A", "env": True, "state": "absent"}, put("A=1", "C=3"), "crontab -u root -l",
         "C=3"),
    Case("another user's", {"name": "a", "job": "run", "user": "plain"}, "crontab -u plain -r 2>/dev/null; true",
         "crontab -u plain -l", "#Ansible: a\n* * * * * run"),
    Case("a file for cron", {"name": "a", "job": "run", "user": "root", "cron_file": "t_cron"},
         "rm -f /etc/cron.d/t_cron",
         "cat /etc/cron.d/t_cron; stat -c '%U %a' /etc/cron.d/t_cron", "#Ansible: a\n* * * * * root run\nroot 644",
         result={"cron_file": "t_cron"}),
    Case("the file's last job goes", {"name": "a", "cron_file": "t_cron", "state": "absent"},
         "printf '#Ansible: a\\n* * * * * root run\\n' > /etc/cron.d/t_cron", "ls /etc/cron.d/t_cron 2>/dev/null", ""),
    Case("one of the file's jobs goes", {"name": "a", "cron_file": "/etc/cron.d/t_cron", "state": "absent"},
         "printf '#Ansible: a\\n* * * * * root run\\n# x\\n' > /etc/cron.d/t_cron", "cat /etc/cron.d/t_cron", "# x"),
    Case("a variable in a file", {"name": "MAILTO", "job": "", "env": True, "cron_file": "t_cron"},
         "echo '* * * * * root x' > /etc/cron.d/t_cron", "cat /etc/cron.d/t_cron", 'MAILTO=""\n* * * * * root x'),
    Case("a copy is kept", {"name": "a", "job": "new", "backup": True}, "rm -f /var/backups/crontab.*;" + put("#z"),
         "cat /var/backups/crontab.root.* 2>/dev/null; stat -c %a /var/backups/crontab.root.* 2>/dev/null", "#z\n600"),
    Case("no job", {"name": "a"}, fails="job is needed"),
    Case("no user", {"name": "a", "job": "x", "cron_file": "t"}, fails="user is needed"),
    Case("two times", {"name": "a", "job": "x", "hour": "3", "special_time": "daily"}, fails="special_time and hour"),
    Case("two lines", {"name": "a", "job": "x\n* * * * * root evil"}, fails="line break"),
    Case("a space in a field", {"name": "a", "job": "x", "hour": "3 4"}, fails="cannot be a field"),
    Case("nothing to insert beside", {"name": "B", "env": True, "value": "2", "insertafter": "Z"}, put("A=1"),
         fails="no variable Z"),
    Case("a user that there is not", {"name": "a", "job": "x", "user": "nosuchuser"}, fails="nosuchuser"),
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES, ids=str)
def test_crontabs_of_hosts(debian: LabHost, case: Case) -> None:
    prove(debian, "scheduling.cron", case)


@pytest.mark.lab
def test_a_preview_sees_what_it_would_have_written(bookworm: LabHost) -> None:
    bookworm.run(put())
    results = previews(
        bookworm,
        [
            ("scheduling.cron", {"name": "a", "job": "x"}),
            ("scheduling.cron", {"name": "a", "job": "x"}),
            ("scheduling.cron", {"name": "b", "job": "y"}),
            ("accounts.user", {"name": "newcomer"}),
            ("scheduling.cron", {"name": "b", "job": "y", "user": "newcomer"}),
            ("scheduling.cron", {"name": "b", "job": "y", "user": "newcomer", "cron_file": "t_new"}),
            ("scheduling.cron", {"name": "b", "state": "absent", "cron_file": "t_new"}),
        ],
    )
    assert [result["changed"] for result in results] == [True, False, True, True, True, True, True]
    assert results[2]["jobs"] == ["a", "b"] and results[2]["diff"][0]["before"] == "#Ansible: a\n* * * * * x\n"


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (lambda tab: tab.set_job("a", "L"), FOREIGN, FOREIGN + "#Ansible: a\nL\n"),
        (lambda tab: tab.set_job("a", "L"), "#Ansible: a\n", "#Ansible: a\nL\n"),
        (lambda tab: tab.set_job("a", "L"), "#Ansible: a\n#Ansible: b\nM\n", "#Ansible: a\nL\n#Ansible: b\nM\n"),
        (lambda tab: tab.set_job("a", "L"), "#Ansible: a\n\nmine\n", "#Ansible: a\nL\n\nmine\n"),
        (lambda tab: tab.set_job("a", "L"), "#Ansible: a b\nM\n", "#Ansible: a b\nM\n#Ansible: a\nL\n"),
        (lambda tab: tab.set_job("a", "L"), "#Ansible: b\nL\n", "#Ansible: b\nL\n#Ansible: a\nL\n"),
        (lambda tab: tab.set_job("a", "L"), "no end", "no end\n#Ansible: a\nL\n"),
        (lambda tab: tab.remove_job("a"), "#Ansible: a\n\nmine\n", "\nmine\n"),
        (lambda tab: tab.remove_job("a"), "#Ansible: a\nL\n#x\n#Ansible: a\nL\n", "#x\n"),
        (lambda tab: tab.remove_job("a"), FOREIGN, FOREIGN),
        (lambda tab: tab.set_variable("MAILTO", "me"), FOREIGN, FOREIGN.replace("MAILTO=root", 'MAILTO="me"')),
        (lambda tab: tab.set_variable("X", "a b"), FOREIGN, 'X="a b"\n' + FOREIGN),
        (lambda tab: tab.remove_variable("MAILTO"), FOREIGN, FOREIGN.replace("MAILTO=root\n", "")),
        (lambda tab: tab.remove_variable("/usr/local/bin/mine"), FOREIGN, FOREIGN),
    ],
)
def test_edits_touch_nothing_else(edit: Callable[[Crontab], object], before: str, after: str) -> None:
    crontab = Crontab(before)
    edit(crontab)
    assert str(crontab) == after


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("A=1", "A"), ("A = 1", "A"), ('"A B"=1', ""), ("'A'=1", "A"), ("#A=1", ""), ("5 * * * * A=1 run", ""),
        ("@daily A=1", ""), ("", ""), ("=1", ""), ("*/5 * * * * env A=1", ""),
    ],
)  # fmt: skip
def test_variables_are_told_from_jobs(line: str, name: str) -> None:
    assert variable_name(line) == name


def test_lines_of_jobs() -> None:
    assert job_line("@daily", None, "run", False) == "@daily run"
    assert job_line("1 2 * * *", "www", "run", True) == "#1 2 * * * www run"


@pytest.mark.lab
def test_what_cron_refuses_leaves_the_crontab(bookworm: LabHost) -> None:
    bookworm.run(put("# before"))
    result = run_module(bookworm, "scheduling.cron", {"name": "a", "job": "x", "minute": "99"})
    assert result["failed"] and "bad minute" in result["msg"]
    assert bookworm.run("crontab -u root -l").stdout == "# before\n"
