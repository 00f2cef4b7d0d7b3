"""What a recovery stands on at the control side: confirmations, the clock, and messages to people."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from opsplay.actions import _durations
from tests.lab.terminal import Terminal
from tests.unit.commands import opsplay
from tests.unit.test_runs import Done

# --- confirm ---

CONFIRM = """
- hosts: h1
  gather_facts: false
  tasks:
    - name: sure
      confirm:
        phrase: "drop {{ word }} on {{ inventory_hostname }}"
        answer: "{{ confirm_drop | default('') }}"
        variable: confirm_drop
        message: The database goes.
        reason: too old
      register: sure
    - {name: destroys, debug: {msg: "{{ sure.actor | default('none') }}"}}
"""


def test_what_was_confirmed_goes_on_and_is_recorded(tmp_path: Path) -> None:
    done = Done(tmp_path, CONFIRM, "-e", "word=app", "-e", "confirm_drop='drop app on h1'")
    assert done.tasks("h1") == [("sure", "ok"), ("destroys", "ok")], done.text
    (data,) = [e["data"] for e in done.events if e["event"] == "task_finished" and e["task"] == "sure"]
    assert data["how"] == "given" and "@" in data["actor"] and data["reason"] == "too old"


@pytest.mark.parametrize("given", ["", "drop app on h2", "yes", "drop app", "DROP APP ON H1"])
def test_without_the_phrase_nothing_begins(tmp_path: Path, given: str) -> None:
    done = Done(tmp_path, CONFIRM, "-e", "word=app", "-e", json.dumps({"confirm_drop": given}))
    assert done.code == 2 and done.tasks("h1") == [("sure", "failed")]
    assert "run with -e confirm_drop='drop app on h1'" in done.text


def test_a_preview_needs_no_confirmation(tmp_path: Path) -> None:
    done = Done(tmp_path, CONFIRM, "-e", "word=app", "--check")
    assert done.code == 0 and done.tasks("h1")[0] == ("sure", "ok"), done.text


@pytest.mark.parametrize(("typed", "code"), [("drop app on h1", 0), ("y", 2)])
def test_a_terminal_is_asked(tmp_path: Path, typed: str, code: int) -> None:
    (tmp_path / "p.yml").write_text(CONFIRM)
    (tmp_path / "hosts.ini").write_text("h1 ansible_connection=local\n")
    argv = ["python3", "-m", "opsplay", "run", "-i", "hosts.ini", "p.yml", "-e", "word=app"]
    with Terminal(argv, {**os.environ, "HOME": str(tmp_path)}, str(tmp_path)) as terminal:
        terminal.wait_for("Type `drop app on h1` to go on: ")
        assert "The database goes." in terminal.text
        terminal.type(typed)
        assert terminal.end() == code, terminal.text


# --- dr_timer ---

CLOCK = """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: start, dr_timer: {name: drill, state: started, budget: "%s"}}
    - {name: database, dr_timer: {name: drill, phase: database, budget: 1h}}
    - {name: breaks, command: "test -e mended", when: breaks is defined}
    - {name: service, dr_timer: {name: drill, phase: service, budget: 0}}
    - {name: end, dr_timer: {name: drill, state: finished, overrun: "{{ overrun | default('fail') }}"}, register: clock}
    - {name: told, debug: {var: clock}}
"""


def clock(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "recovery/drill.json").read_text())
    return found


def test_phases_are_measured(tmp_path: Path) -> None:
    done = Done(tmp_path, CLOCK % "4h")
    assert done.code == 0, done.text
    (data,) = [e["data"] for e in done.events if e["event"] == "task_finished" and e["task"] == "end"]
    assert [(one["name"], one["over"]) for one in data["phases"]] == [("database", False), ("service", True)]
    assert data["budget"] == 14400 and not data["over"]
    kept = clock(tmp_path)
    assert kept["began"] <= kept["phases"][0]["began"] <= kept["phases"][0]["ended"] == kept["phases"][1]["began"]
    assert kept["phases"][1]["ended"] == kept["ended"]
    again = Done(tmp_path, CLOCK % "4h")
    assert again.code == 0 and clock(tmp_path)["began"] > kept["ended"], "a recovery that has ended is another one"


def test_an_interrupted_recovery_goes_on_with_its_clock(tmp_path: Path) -> None:
    assert Done(tmp_path, CLOCK % "4h", "-e", "breaks=yes").code == 2
    before = clock(tmp_path)
    assert before["ended"] is None
    assert Done(tmp_path, CLOCK % "4h").code == 0
    after = clock(tmp_path)
    assert after["began"] == before["began"] and [one["name"] for one in after["phases"]] == ["database", "service"]
    assert after["phases"][0]["began"] == before["phases"][0]["began"]


@pytest.mark.parametrize(("overrun", "code"), [("fail", 2), ("warn", 0)])
def test_over_the_budget(tmp_path: Path, overrun: str, code: int) -> None:
    done = Done(tmp_path, CLOCK % "0", "-e", f"overrun={overrun}")
    assert done.code == code and "drill took " in done.text, done.text


def test_a_preview_starts_no_clock(tmp_path: Path) -> None:
    Done(tmp_path, CLOCK % "4h", "--check")
    assert not (tmp_path / "recovery").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("state: started, budget: soon", "'soon' is no length of time"),
        ("state: started, began: '2026-01-01T00:00:00'", "has no zone"),
        ("state: started, began: '2999-01-01T00:00:00Z'", "lies in the future"),
        ("phase: any", "it does not run; begin it with state: started"),
        ("state: query", "it was never started"),
        ("state: finished", "it does not run"),
    ],
)
def test_a_clock_that_cannot_be(tmp_path: Path, words: str, said: str) -> None:
    play = f"- hosts: h1\n  gather_facts: false\n  tasks: [{{dr_timer: {{name: x, {words}}}}}]\n"
    done = Done(tmp_path, play)
    assert done.code == 2 and said in done.text, done.text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("30m", 1800), ("4h", 14400), ("1h30m", 5400), ("2d", 172800)],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert _durations.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "4x", "4 h", "-4h", "1h30"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        _durations.seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (725, "12 min 5 s"), (12000, "3 h 20 min"), (187200, "2 d 4 h")],
)
def test_lengths_of_time_for_people(seconds: float, text: str) -> None:
    assert _durations.shown(seconds) == text


# --- notification ---


class Sink(http.server.BaseHTTPRequestHandler):
    """A webhook that keeps what it is sent, and refuses at /no."""

    got: list[dict[str, Any]] = []

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Sink.got.append(json.loads(body))
        self.send_response(500 if self.path.startswith("/no") else 200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        return


class Box(Message):
    """A mailbox."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.mails.append(message)


@pytest.fixture
def webhook() -> Iterator[int]:
    """The port of a webhook that takes what comes."""
    Sink.got = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def tell(*words: str) -> str:
    return f"- hosts: h1\n  gather_facts: false\n  tasks: [{{name: tell, notification: {{{', '.join(words)}}}}}]\n"


def test_a_webhook_and_a_mailbox_are_told(tmp_path: Path, webhook: int) -> None:
    box = Box()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        mail = f"mailto://127.0.0.1:{port}?from=ops@example.test&to=admin@example.test&mode=insecure"
        to = f'to: ["json://127.0.0.1:{webhook}/x?secret=hush-hush", "{mail}"]'
        done = Done(tmp_path, tell(to, "title: Backup failed", "body: 'app on db1: no space'", "severity: failure"))
    finally:
        controller.stop()
    assert done.code == 0 and done.tasks("h1") == [("tell", "changed")], done.text
    (got,) = Sink.got
    assert (got["title"], got["message"], got["type"]) == ("Backup failed", "app on db1: no space", "failure")
    (mail_got,) = box.mails
    assert "Backup failed" in mail_got["Subject"] and "app on db1: no space" in mail_got.as_string()
    assert "hush-hush" not in done.text + json.dumps(done.events)


def test_one_that_refuses_fails_the_task_and_names_no_secret(tmp_path: Path, webhook: int) -> None:
    to = f'to: ["json://127.0.0.1:{webhook}/no?secret=hush-hush", "json://127.0.0.1:{webhook}/x"]'
    done = Done(tmp_path, tell(to, "title: t"))
    assert done.code == 2 and "not taken by address 1 (json) of 2" in done.text
    assert len(Sink.got) == 2 and "hush-hush" not in done.text + json.dumps(done.events)


def test_the_same_is_told_once_until_it_changes(tmp_path: Path, webhook: int) -> None:
    to = f'to: ["json://127.0.0.1:{webhook}/x"]'
    statuses = []
    for severity in ("failure", "failure", "success", "success", "failure"):
        done = Done(tmp_path, tell(to, "title: t", f"severity: {severity}", "once: disk"))
        statuses.append(done.tasks("h1")[0][1])
    assert statuses == ["changed", "ok", "changed", "ok", "changed"] and len(Sink.got) == 3
    assert Done(tmp_path, tell(to, "title: t", "severity: failure", "once: disk", "again: 0s")).code == 0
    assert len(Sink.got) == 4


def test_a_preview_tells_nobody(tmp_path: Path, webhook: int) -> None:
    done = Done(tmp_path, tell(f'to: ["json://127.0.0.1:{webhook}/x"]', "title: t", "once: disk"), "--check")
    assert done.tasks("h1") == [("tell", "changed")] and Sink.got == []
    assert not list(tmp_path.glob("home/.local/state/opsplay/notifications/*"))


@pytest.mark.parametrize(
    ("to", "said"),
    [('["nosuch://x"]', "address 1 (nosuch) is none that Apprise knows"), ('[""]', "nobody is told")],
)
def test_addresses_that_lead_nowhere(tmp_path: Path, to: str, said: str) -> None:
    done = Done(tmp_path, tell(f"to: {to}", "title: t"))
    assert done.code == 2 and said in done.text, done.text


def test_opsplay_runs_without_apprise_until_it_is_needed(tmp_path: Path) -> None:
    done = opsplay(tmp_path, "doc", "notification")
    assert done.returncode == 0 and "mailto://" in done.stdout


# --- secret_store ---

OPEN = """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: open, secret_store: {file: secrets.yml, required: [db_password, key], %s}, register: opened}
    - {name: used, debug: {msg: "{{ db_password }} of {{ opened.names | join(' ') }}"}}
"""
SECRETS = "db_password: 7f3a-9c1e-55d0\nkey: abcdefghijklmnop\nport: 5432\n"


def open_with(folder: Path, secrets: str, words: str = "min_length: 12", encrypted: bool = True) -> Done:
    (folder / "secrets.yml").write_text(secrets)
    (folder / "pw").write_text("vault-pw\n")
    if encrypted:
        done = opsplay(folder, "vault", "encrypt", "--vault-password-file", "pw", "secrets.yml")
        assert done.returncode == 0, done.stderr
    return Done(folder, OPEN % words, "--vault-password-file", "pw")


def test_secrets_are_opened_and_never_shown(tmp_path: Path) -> None:
    done = open_with(tmp_path, SECRETS)
    assert done.code == 0 and done.tasks("h1") == [("open", "ok"), ("used", "ok")], done.text
    shown = done.text + json.dumps(done.events)
    assert "7f3a-9c1e" not in shown and "abcdefghijklmnop" not in shown and "of db_password key port" in shown


@pytest.mark.parametrize(
    ("secrets", "words", "said"),
    [
        ("port: 1\n", "min_length: 3", "missing: db_password, key"),
        ("db_password: ''\nkey: abcdefghijklmnop\n", "min_length: 3", "missing: db_password"),
        ("db_password: ChangeMe\nkey: abcdefghijklmnop\n", "min_length: 3", "db_password is a placeholder"),
        ("db_password: short\nkey: abcdefghijklmnop\n", "min_length: 12", "db_password has 5 characters, at least 12"),
    ],
)
def test_secrets_that_are_worth_nothing_are_named(tmp_path: Path, secrets: str, words: str, said: str) -> None:
    done = open_with(tmp_path, secrets, words)
    assert done.code == 2 and said in done.text, done.text


def test_a_store_that_lies_open_is_refused(tmp_path: Path) -> None:
    done = open_with(tmp_path, SECRETS, encrypted=False)
    assert done.code == 2 and "is not encrypted; do so with `opsplay vault encrypt" in done.text
    assert open_with(tmp_path, SECRETS, "allow_plain: true", encrypted=False).code == 0


def test_without_its_password_a_store_stays_shut(tmp_path: Path) -> None:
    assert open_with(tmp_path, SECRETS).code == 0
    done = Done(tmp_path, OPEN % "min_length: 3")
    assert done.code == 2 and "the secrets cannot be opened" in done.text


# --- secret_store on a server ---

FROM_SERVER = """
- hosts: h1
  gather_facts: false
  tasks:
    - {name: open, secret_store: {url: "%s", path: app/db, required: [db_password], timeout: 2, %s}, register: opened}
    - {name: used, debug: {msg: "{{ db_password }} of {{ opened.names | join(' ') }}"}}
"""
KEPT = {"db_password": "7f3a-{{ 1 + 1 }}-55d0", "port": 5432}


class Bao(http.server.BaseHTTPRequestHandler):
    """The answers that OpenBao's API documents for its key-value store of version 2, and for a role's login."""

    sealed = False

    def do_GET(self) -> None:
        token = self.headers.get("X-Vault-Token")
        if self.sealed:
            self.answer(503, {"errors": ["Vault is sealed"]})
        elif token not in ("s.good", "s.of-role"):
            self.answer(403, {"errors": ["permission denied"]})
        elif self.path == "/v1/secret/data/app/db":
            self.answer(200, {"data": {"data": KEPT, "metadata": {"version": 3, "deletion_time": "", "destroyed": False}}})
        elif self.path == "/v1/old/data/app/db":
            gone = {"version": 3, "deletion_time": "2026-11-28T00:00:00Z", "destroyed": False}
            self.answer(404, {"data": {"data": None, "metadata": gone}})
        else:
            self.answer(404, {"errors": []})

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (self.path, given) == ("/v1/auth/approle/login", {"role_id": "app", "secret_id": "role-secret"}):
            self.answer(200, {"auth": {"client_token": "s.of-role"}})
        else:
            self.answer(400, {"errors": ["invalid role or secret ID"]})

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def bao() -> Iterator[str]:
    Bao.sealed = False
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bao) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("words", ["token: s.good", "role_id: app, role_secret: role-secret"])
def test_a_server_keeps_the_secrets(tmp_path: Path, bao: str, words: str) -> None:
    """They are masked, and data: what looks like a template is none."""
    done = Done(tmp_path, FROM_SERVER % (bao, words))
    assert done.code == 0 and done.tasks("h1") == [("open", "ok"), ("used", "ok")], done.text
    shown = done.text + json.dumps(done.events)
    assert "7f3a" not in shown and "55d0" not in shown and "of db_password port" in shown
    assert "s.good" not in shown and "role-secret" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("token: s.bad", "does not let this token read secret/app/db"),
        ("token: s.good, mount: old", "has no secret old/app/db, or its newest version was deleted"),
        ("token: s.good, mount: none", "has no secret none/app/db"),
        ("role_id: app, role_secret: wrong", "refuses secret/app/db: invalid role or secret ID"),
        ("token: s.good, min_length: 30", "db_password has 21 characters, at least 30 are wanted"),
        ("min_length: 3", "no token for http"),
    ],
)
def test_what_a_server_refuses_is_said(tmp_path: Path, bao: str, words: str, said: str) -> None:
    done = Done(tmp_path, FROM_SERVER % (bao, words))
    assert done.code == 2 and said in done.text, done.text


def test_a_server_that_is_sealed_or_away_is_said(tmp_path: Path, bao: str) -> None:
    Bao.sealed = True
    done = Done(tmp_path, FROM_SERVER % (bao, "token: s.good"))
    assert done.code == 2 and "is sealed: unseal it" in done.text
    done = Done(tmp_path, FROM_SERVER % ("http://127.0.0.1:9", "token: s.good"))
    assert done.code == 2 and "cannot be reached; a store that has to open at a recovery site is a file" in done.text
