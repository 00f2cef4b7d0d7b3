"""Files of KEY=value lines: what is kept, what is hidden, and that sh and systemd read the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsplay.lab import LabHost
from opsplay.modules.files._environment import edited, pieces, written
from tests.lab.remote_module import Call, run_calls
from tests.modules.harness import Case, File, Link, play

FILE = "# The database\nA=1\nexport B='two words'\n\n; other\nC=\"x\\\"y\"\nlines='one\ntwo'\nno assignment\nA=3\n"

CASES = [
    Case("is made", {"path": "@/e", "set": {"A": "x y", "B": 5, "C": True, "D": "True", "E": ""}},
         after={"e": File("A='x y'\nB=5\nC=true\nD=True\nE=\n", 0o600)},
         result={"set": ["A", "B", "C", "D", "E"], "removed": []}),
    Case("is there already", {"path": "@/e", "set": {"A": "1", "B": "two words", "C": 'x"y', "lines": "one\ntwo"}},
         {"e": File(FILE.replace("A=3\n", ""), 0o600)}, changed=False, result={"set": []}),
    Case("the last one counts", {"path": "@/e", "set": {"A": "3"}}, {"e": File(FILE, 0o600)}, changed=False),
    Case("changes in its place", {"path": "@/e", "set": {"A": "9", "B": "it's", "lines": "z"}}, {"e": File(FILE, 0o600)},
         {"e": "# The database\nA=9\nexport B=\"it's\"\n\n; other\nC=\"x\\\"y\"\nlines=z\nno assignment\n"}),
    Case("is added at the end", {"path": "@/e", "set": {"Z": "$HOME", "Y": "a\\b"}}, {"e": File("A=1", 0o600)},
         {"e": "A=1\nZ='$HOME'\nY=\"a\\\\b\"\n"}),
    Case("goes", {"path": "@/e", "unset": ["A", "lines", "none"]}, {"e": File(FILE, 0o600)},
         {"e": "# The database\nexport B='two words'\n\n; other\nC=\"x\\\"y\"\nno assignment\n"},
         result={"removed": ["A", "lines"]}),
    Case("only what is set", {"path": "@/e", "set": {"B": "two words"}, "exclusive": True}, {"e": File(FILE, 0o600)},
         {"e": "# The database\nexport B='two words'\n\n; other\nno assignment\n"}, result={"removed": ["A", "C", "lines"]}),
    Case("what is read in two ways is written anew", {"path": "@/e", "set": {"A": "$B", "C": "a b", "D": "x"}},
         {"e": File("A=\"$B\"\nC=a b\nD=x # y\n", 0o600)}, {"e": "A='$B'\nC='a b'\nD=x\n"}),
    Case("a mode that is too open", {"path": "@/e", "set": {"A": "1"}}, {"e": File("A=1\n", 0o644)},
         {"e": File("A=1\n", 0o600)}, result={"set": []}),
    Case("a mode that is wished", {"path": "@/e", "set": {"A": "1"}, "mode": "0640"}, after={"e": File("A=1\n", 0o640)}),
    Case("through a link", {"path": "@/e", "set": {"A": "2"}}, {"real": File("A=1\n", 0o600), "e": Link("real")},
         {"e": Link("real"), "real": "A=2\n"}),
    Case("without an end", {"path": "@/e", "set": {"A": "x"}}, {"e": File("A='never\nB=1\n", 0o600)},
         {"e": "A=x\nB=1\n"}),
    Case("the file goes", {"path": "@/e", "state": "absent"}, {"e": "A=1\n"}, {"e": ...}),
    Case("the file is gone", {"path": "@/e", "state": "absent"}, changed=False),
    Case("no name", {"path": "@/e", "set": {"A-B": "x"}}, fails="'A-B' cannot be a variable's name"),
    Case("no text", {"path": "@/e", "set": {"A": ["x"]}}, fails="value of A is no text"),
    Case("a control character", {"path": "@/e", "set": {"A": "hush\x1b[2J"}}, fails="control character '\\x1b'"),
    Case("both", {"path": "@/e", "set": {"A": "x"}, "unset": ["A"]}, fails="both set and unset"),
    Case("nothing", {"path": "@/e"}, fails="nothing is asked for"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_files_of_variables(case: Case, tmp_path: Path) -> None:
    play("files.env_file", case, tmp_path)


def test_no_value_is_shown(tmp_path: Path) -> None:
    """Neither in the difference nor anywhere else in the result; what changes is told all the same."""
    before = {"e": File("# c\nOLD=old-secret\nKEPT=kept-secret\nGOES=gone-secret\n", 0o644)}
    params = {"path": "@/e", "set": {"OLD": "new-secret", "NEW": "x secret"}, "unset": ["GOES"], "backup": True}
    result = play("files.env_file", Case("x", params, before, predicted=False), tmp_path)
    assert "secret" not in json.dumps(result)
    shown = result["diff"][-1]
    assert shown["before"] == "# c\nOLD=********\nKEPT=********\nGOES=********\n"
    assert shown["after"] == "# c\nOLD=******** (new value)\nKEPT=********\nNEW=******** (new value)\n"
    copy = Path(result["backup_file"])
    assert "old-secret" in copy.read_text() and copy.stat().st_mode & 0o777 == 0o600


VALUES = st.text(st.one_of(st.sampled_from("ab '\"\\$`#;=\n\t{}%é"), st.characters(exclude_categories=["Cs", "Cc"])))


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_sh_reads_what_was_given(value: str) -> None:
    script = f"A={written(value)}\nprintf '%s.' \"$A\""
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True, timeout=10)
    assert done.stdout.decode() == value + "."


@given(st.lists(st.one_of(st.sampled_from(["# c\n", "\n", "A=1\n", "B='x\ny'\n", "A=\"q", "x\n", "C=a\\\nb\n"]), st.text())))
def test_taken_apart_and_together_it_is_the_same_file(parts: list[str]) -> None:
    text = "".join(parts)
    assert "".join(piece.text for piece in pieces(text)) == text


@given(st.dictionaries(st.sampled_from("ABCD"), VALUES), st.dictionaries(st.sampled_from("ABCD"), VALUES))
def test_what_is_written_is_read_again(first: dict[str, str], second: dict[str, str]) -> None:
    text = "".join(piece.text for piece in edited("# c\n", first, [], False))
    assert {piece.key: piece.value for piece in pieces(text) if piece.key} == first
    after = edited(text, second, [], False)
    assert {piece.key: piece.value for piece in after if piece.key} == {**first, **second}
    whole = "".join(piece.text for piece in after)
    assert "".join(piece.text for piece in edited(whole, second, [], False)) == whole


AWKWARD = {
    "PLAIN": "postgresql://u:p%40x@db:5432/n", "BLANKS": "  a  b ", "SINGLE": "it's", "DOUBLE": 'say "hi"', "SLASH": "a\\b\\",
    "DOLLAR": "$HOME ${X} `id`", "MIXED": "'\"\\$`#;", "HASH": "a # b", "LINES": "one\ntwo", "EMPTY": "", "UTF": "é ü",
    "TRAP": "\\n\\t'", "EQUALS": "a=b=c", "TAB": "a\tb",
}  # fmt: skip


@pytest.mark.lab
def test_systemd_and_sh_read_the_same(debian: LabHost) -> None:
    debian.run("rm -f /root/t-env")
    call = Call("files.env_file", {"path": "/root/t-env", "set": AWKWARD})
    first, again = run_calls(debian, [call, call])
    assert first["changed"] and not again["changed"], first
    show = "python3 -c 'import os, json; print(json.dumps(dict(os.environ)))'"
    by_sh = json.loads(debian.run(f"set -a; . /root/t-env; {show}").stdout)
    unit = "systemd-run --quiet --wait --pipe -p EnvironmentFile=/root/t-env "
    by_systemd = json.loads(debian.run(unit + show).stdout)
    assert {key: by_sh.get(key) for key in AWKWARD} == AWKWARD
    assert {key: by_systemd.get(key, "") for key in AWKWARD} == AWKWARD
    debian.run("rm -f /root/t-env")
