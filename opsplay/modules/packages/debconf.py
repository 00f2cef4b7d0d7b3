"""Answer a package's questions before it asks them, in debconf's database."""

from __future__ import annotations

from typing import Any, Dict, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Name, Params, Raw, Str

PARAMS = {
    "name": Name(required=True, aliases=("pkg",), help="The package"),
    "question": Str(aliases=("selection", "setting"), help="The question; without it, all of the package's are listed"),
    "vtype": Choice(
        "boolean", "error", "multiselect", "note", "password", "seen", "select", "string", "text", "title",
        help="The type of the answer",
    ),
    "value": Raw(aliases=("answer",), help="The answer; for multiselect perhaps a list"),
    "unseen": Bool(default=False, help="Let the question be asked all the same"),
}  # fmt: skip
CHECK = "exact"
PASSWORDS = "/var/cache/debconf/passwords.dat"
# How debconf-show writes a password.
OMITTED = "(password omitted)"
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def run(host: Host, params: Params) -> Dict[str, Any]:
    answers = answers_of(host, params.name)
    if params.question is None:
        return host.outcome(msg="", current=answers)
    if params.vtype is None or params.value is None:
        host.fail("parameters are required together: question, vtype, value")
    question, wanted = params.question, text_of(params.value, params.vtype)
    is_password = params.vtype == "password"
    there = password(host, question) if is_password else answers.get(question)
    if is_same(params.value, there, wanted):
        return host.outcome(msg="", current=answers)
    shown = OMITTED if is_password else wanted
    host.note((OMITTED if is_password and there else there or "") + "\n", shown + "\n", question)
    answer(host, params, wanted)
    # What Ansible returns: of a question that has no answer yet, those of all others, too.
    previous = {question: answers[question]} if question in answers else dict(answers, **{question: ""})
    return host.outcome(msg="", current={question: shown}, previous=previous)


def answers_of(host: Host, package: str) -> Dict[str, str]:
    """The package's questions that have an answer, as debconf-show lists them."""
    if not host.which("debconf-show"):
        host.fail("debconf is not on this host; the debconf module is for Debian and what descends from it")
    done = host.query(["debconf-show", package], env=ENVIRONMENT)
    if done.rc != 0:
        host.fail("debconf-show %s failed: %s" % (package, done.stderr.strip()), rc=done.rc)
    found = {}
    for line in done.stdout.split("\n"):
        # A question that has been asked is marked with a star.
        question, colon, value = line.lstrip("* ").partition(":")
        if colon:
            found[question.strip()] = value.strip()
    return found


def password(host: Host, question: str) -> Optional[str]:
    """A password's present value: debconf-show leaves these out."""
    try:
        text = host.read(PASSWORDS).decode("utf-8", "replace")
    except OSError:
        return None
    for stanza in text.split("\n\n"):
        lines = stanza.split("\n")
        if "Name: " + question in lines:
            return next((line[len("Value: ") :] for line in lines if line.startswith("Value: ")), None)
    return None


def text_of(value: Any, kind: str) -> str:
    """The answer as debconf writes it."""
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).lower() if kind == "boolean" else str(value)


def is_same(value: Any, there: Optional[str], wanted: str) -> bool:
    if there is not None and isinstance(value, (list, tuple)):
        # debconf keeps the order of the choices, not that of the answer.
        return sorted(part.strip() for part in there.split(",")) == sorted(str(part) for part in value)
    return there == wanted


def answer(host: Host, params: Params, wanted: str) -> None:
    argv = ["debconf-set-selections"] + (["--unseen"] if params.unseen else [])
    line = "%s %s %s %s\n" % (params.name, params.question, params.vtype, wanted)
    done = host.run(argv, foreseen=True, stdin=line.encode("utf-8", "surrogateescape"), env=ENVIRONMENT)
    if done.rc != 0:
        host.fail("debconf-set-selections failed: %s" % done.stderr.strip(), rc=done.rc)
