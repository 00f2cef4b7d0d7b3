"""What people are asked at a terminal: values of plays, pauses, whether to go on, passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsplay.lab import Lab
from tests.lab.driver import Driver
from tests.lab.terminal import Terminal

pytestmark = pytest.mark.lab


def at_terminal(driver: Driver, playbook: str, *arguments: str) -> Terminal:
    path: Path = driver.write(playbook)
    argv = driver.command("run", "-i", str(driver.inventory), str(path), *arguments)
    return Terminal(argv, driver.environment(), str(driver.directory))


PROMPTS = """
- hosts: web1
  gather_facts: false
  vars_prompt:
    - {name: colour, prompt: Which colour, private: false, default: blue}
    - {name: secret, prompt: The secret, confirm: true}
    - {name: hashed, prompt: To hash, encrypt: sha512_crypt, salt_size: 8}
    - {name: given, prompt: Not asked}
  tasks:
    - {name: said, debug: {msg: "{{ colour }} {{ secret | length }} {{ hashed[:3] }} {{ given }} {{ '{{ colour }}' }}"}}
    - {name: shows, debug: {msg: "it is {{ secret }}"}}
"""


def test_prompts_of_a_play(driver: Driver, lab: Lab) -> None:
    with at_terminal(driver, PROMPTS, "-e", "given=with-e") as terminal:
        terminal.wait_for("Which colour [blue]: ")
        terminal.type("")
        terminal.wait_for("The secret: ")
        terminal.type("s3cret")
        terminal.wait_for("confirm The secret: ")
        terminal.type("other")
        terminal.wait_for("not the same")
        terminal.type("{{7*7}}")
        terminal.wait_for("confirm")
        terminal.type("{{7*7}}")
        terminal.wait_for("To hash: ")
        terminal.type("hashme")
        assert terminal.end() == 0, terminal.text
    assert "blue 7 $6$ with-e" in terminal.text
    # What is typed is data, is not echoed where it is private, and is masked in the output.
    assert "s3cret" not in terminal.text and "hashme" not in terminal.text and "49" not in terminal.text
    assert "it is {{7*7}}" not in terminal.text


def test_without_a_terminal_a_prompt_needs_a_default(driver: Driver, lab: Lab) -> None:
    done = driver.run(PROMPTS)
    assert done.code == 1
    assert "give it with -e secret=" in done.out + done.err
    given = driver.run(PROMPTS, "-e", "secret=x hashed=y given=z")
    assert given.code == 0 and "blue 1 y z" in given.out


def test_a_pause_waits_for_an_answer(driver: Driver, lab: Lab) -> None:
    playbook = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: asks, pause: {prompt: "How are you"}, register: answer}
    - {name: heard, debug: {msg: "said {{ answer.user_input }}"}}
    - {name: waits, pause: {seconds: 1}, register: waited}
    - {name: waited, debug: {msg: "waited {{ waited.delta }}"}}
"""
    with at_terminal(driver, playbook) as terminal:
        terminal.wait_for("How are you: ")
        terminal.type("well")
        assert terminal.end() == 0, terminal.text
    assert terminal.text.count("said well") == 1
    assert "waited 1" in terminal.text
    unattended = driver.run(playbook)
    assert unattended.code == 0, unattended.out


def test_step_by_step(driver: Driver, lab: Lab) -> None:
    playbook = """
- hosts: all
  gather_facts: false
  tasks: [{name: one, debug: {msg: said 1}}, {name: two, debug: {msg: said 2}}, {name: three, debug: {msg: said 3}},
          {name: four, debug: {msg: said 4}}]
"""
    with at_terminal(driver, playbook, "--step") as terminal:
        for name, answer in (("one", "y"), ("two", "n"), ("three", "c")):
            terminal.wait_for(f"Run task: {name} ")
            terminal.type(answer)
        assert terminal.end() == 0, terminal.text
    assert [terminal.text.count(f"said {number}") for number in (1, 2, 3, 4)] == [1, 0, 1, 1]


def test_passwords_typed_at_their_prompts(driver: Driver, lab: Lab) -> None:
    """-k and -K: what is typed logs in and becomes root, and is not echoed."""
    playbook = "- {hosts: web1, gather_facts: false, become: true, tasks: [{name: who, command: id -un}]}"
    key = ["-e", "ansible_user=ops", "-e", "ansible_ssh_private_key_file="]
    with at_terminal(driver, playbook, "-k", "-K", *key) as terminal:
        terminal.wait_for("assword: ")
        terminal.type(lab.password)
        terminal.wait_for("assword")
        terminal.type("")
        assert terminal.end() == 0, terminal.text
    assert lab.password not in terminal.text
