"""lineinfile, blockinfile and replace: the edits that playbooks make to files of others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsplay.modules.files._editing import plain_pattern
from tests.modules.harness import Case, File, Link, play, run

TEXT = "alpha=1\nbeta=2\nbeta=3\nomega\n"
BLOCK = "# BEGIN ANSIBLE MANAGED BLOCK\n%s\n# END ANSIBLE MANAGED BLOCK\n"


def line(name: str, after: str, before: str = TEXT, msg: str = "", **params: Any) -> Case:
    result = {"msg": msg} if msg else {}
    return Case(name, {"path": "@/f", **params}, {"f": before}, {"f": after}, before != after, result)


LINES = [
    line("is there", TEXT, line="omega"),
    line("at the end", TEXT + "new\n", line="new", msg="line added"),
    line("after a last line without its end", "a\nnew\n", "a", line="new"),
    line("into an empty file", "new\n", "", line="new"),
    line(
        "the last that matches", "alpha=1\nbeta=2\nbeta=9\nomega\n", regexp="^beta=", line="beta=9", msg="line replaced"
    ),
    line("the first that matches", "alpha=1\nbeta=9\nbeta=3\nomega\n", regexp="^beta=", line="beta=9", firstmatch=True),
    line("nothing matches", TEXT + "new\n", regexp="^new", line="new"),
    line("after the last match", "alpha=1\nbeta=2\nbeta=3\nnew\nomega\n", insertafter="^beta", line="new"),
    line(
        "after the first match",
        "alpha=1\nbeta=2\nnew\nbeta=3\nomega\n",
        insertafter="^beta",
        line="new",
        firstmatch=True,
    ),
    line("before the last match", "alpha=1\nbeta=2\nnew\nbeta=3\nomega\n", insertbefore="^beta", line="new"),
    line("before all", "new\n" + TEXT, insertbefore="BOF", line="new"),
    line("after no match", TEXT + "new\n", insertafter="^zeta", line="new"),
    line("after the last line, which has no end", "a\nnew\n", "a", insertafter="a", line="new"),
    line("back references", "alpha=2\nbeta=2\nbeta=3\nomega\n", regexp="^(alpha)=1", line=r"\1=2", backrefs=True),
    line("back references without a match", TEXT, regexp="^(zeta)", line=r"\1=2", backrefs=True),
    line("search string", "alpha=1\nbeta=2\nbeta=3\nend\n", search_string="meg", line="end"),
    line("removed by its text", "alpha=1\nbeta=3\nomega\n", state="absent", line="beta=2", msg="1 line(s) removed"),
    line("removed by pattern", "alpha=1\nomega\n", state="absent", regexp="^beta", msg="2 line(s) removed"),
    line("removed by search string", "beta=2\nbeta=3\nomega\n", state="absent", search_string="pha"),
    line("nothing to remove", TEXT, state="absent", line="zeta"),
    line("other ends of lines stay", "a\r\nb\r\nc\n", "a\r\nb\r\n", line="c"),
    Case("made", {"path": "@/d/f", "line": "x", "create": True, "mode": "0600"}, after={"d/f": File("x\n", 0o600)}),
    Case("through a link", {"path": "@/l", "line": "x"}, {"t": "", "l": Link("t")}, {"t": "x\n", "l": Link("t")}),
    Case("not there", {"path": "@/f", "line": "x"}, fails="does not exist"),
    Case("not there to remove from", {"path": "@/f", "line": "x", "state": "absent"}, changed=False),
    Case("a directory", {"path": "@/f", "line": "x"}, {"f": None}, fails="is a directory"),
    Case("no line", {"path": "@/f"}, {"f": ""}, fails="line is required"),
    Case(
        "no pattern", {"path": "@/f", "line": "x", "regexp": "("}, {"f": ""}, fails="regexp is not a regular expression"
    ),
    Case(
        "not valid", {"path": "@/f", "line": "x", "validate": "grep -q y %s"}, {"f": "a\n"}, fails="failed to validate"
    ),
]


def block(name: str, after: str, before: str = "one\ntwo\n", msg: str = "", **params: Any) -> Case:
    result = {"msg": msg} if msg else {}
    return Case(name, {"path": "@/f", "block": "new", **params}, {"f": before}, {"f": after}, before != after, result)


BLOCKS = [
    block("at the end", "one\ntwo\n" + BLOCK % "new", msg="Block inserted"),
    block("after a last line without its end", "one\n" + BLOCK % "new", "one"),
    block("is there", "one\n" + BLOCK % "new", "one\n" + BLOCK % "new"),
    block("replaced where it is", BLOCK % "new" + "two\n", BLOCK % "old" + "two\n"),
    block("after a line", "one\n" + BLOCK % "new" + "two\n", insertafter="^one"),
    block("before a line", "one\n" + BLOCK % "new" + "two\n", insertbefore="^two"),
    block("before all", BLOCK % "new" + "one\ntwo\n", insertbefore="BOF"),
    block("after lines", "one\ntwo\n" + BLOCK % "new" + "three\n", "one\ntwo\nthree\n", insertafter="(?m)one\ntwo"),
    block("removed", "one\ntwo\n", "one\n" + BLOCK % "old" + "two\n", state="absent", msg="Block removed"),
    block("an empty block is removed", "one\n", "one\n" + BLOCK % "old", block=""),
    block("not there to remove", "one\n", "one\n", state="absent"),
    block(
        "other marker", "one\n// S x\nnew\n// F x\n", "one\n", marker="// {mark} x", marker_begin="S", marker_end="F"
    ),
    block("empty line before", "one\n\n" + BLOCK % "new", "one\n", prepend_newline=True),
    block("empty line after", BLOCK % "new" + "\none\n", "one\n", append_newline=True, insertbefore="BOF"),
    Case(
        "made", {"path": "@/f", "block": "x", "create": True}, after={"f": BLOCK % "x"}, result={"msg": "File created"}
    ),
    Case("not there", {"path": "@/f", "block": "x"}, fails="does not exist"),
    Case(
        "both places", {"path": "@/f", "insertafter": "a", "insertbefore": "b"}, {"f": ""}, fails="mutually exclusive"
    ),
]


def swap(name: str, wanted: str, text: str = "one two\ntwo three\nend\n", **params: Any) -> Case:
    again = bool(params.pop("again", False))
    return Case(name, {"path": "@/f", **params}, {"f": text}, {"f": wanted}, text != wanted, again=again)


REPLACEMENTS = [
    swap("all", "one 2\n2 three\nend\n", regexp="two", replace="2"),
    swap("at the start of a line", "one two\n2 three\nend\n", regexp="^two", replace="2"),
    swap("removed", "one \n three\nend\n", regexp="two"),
    swap("groups", "one two\nthree two\nend\n", regexp=r"^(two) (three)", replace=r"\2 \1"),
    swap("nothing found", "one two\ntwo three\nend\n", regexp="zeta", replace="x"),
    swap("after", "one two\n2 three\nend\n", regexp="two", replace="2", after="one two"),
    swap("before", "one 2\ntwo three\nend\n", regexp="two", replace="2", before="\ntwo"),
    swap("between", "one two\n2 three\nend\n", regexp="two", replace="2", after="one two", before="end"),
    swap("bounds that are not there", "one two\ntwo three\nend\n", regexp="two", replace="2", after="zeta"),
    swap("a growing replacement", "aa\n", "a\n", regexp="a", replace="aa", again=True),
    Case("not there", {"path": "@/f", "regexp": "x"}, fails="does not exist"),
    Case("no pattern", {"path": "@/f", "regexp": "("}, {"f": ""}, fails="not a regular expression"),
    Case(
        "no such group", {"path": "@/f", "regexp": "a", "replace": r"\3"}, {"f": "a"}, fails="not a regular expression"
    ),
]


@pytest.mark.parametrize("case", LINES, ids=lambda case: case.name)
def test_lineinfile(case: Case, tmp_path: Path) -> None:
    play("files.lineinfile", case, tmp_path)


@pytest.mark.parametrize("case", BLOCKS, ids=lambda case: case.name)
def test_blockinfile(case: Case, tmp_path: Path) -> None:
    play("files.blockinfile", case, tmp_path)


@pytest.mark.parametrize("case", REPLACEMENTS, ids=lambda case: case.name)
def test_replace(case: Case, tmp_path: Path) -> None:
    play("files.replace", case, tmp_path)


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff\xfe one\n")
    run("files.replace", {"path": str(tmp_path / "f"), "regexp": "one", "replace": "two"})
    run("files.lineinfile", {"path": str(tmp_path / "f"), "line": "three"})
    assert (tmp_path / "f").read_bytes() == b"\xff\xfe two\nthree\n"


@settings(max_examples=2000)
@given(
    text=st.text(alphabet="ab.\\$^[x]\n", max_size=6),
    line=st.binary(max_size=8).map(lambda data: bytes(b"ab.$^[x]\r"[byte % 9] for byte in data)),
    end=st.sampled_from([b"", b"\n", b"\r\n"]),
)
def test_plain_patterns_find_what_regular_expressions_find(text: str, line: bytes, end: bytes) -> None:
    plain = plain_pattern(text)
    if plain is None:
        return
    expected = re.compile(text.encode()).search(line + end) is not None
    assert bool(plain.search(line + end)) == expected
