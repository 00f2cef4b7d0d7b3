"""What can be wrong in the files: every rule by its stable name, with one line for `opsplay check --rules`.

A rule is found where its matter is at hand: those of YAML while a document is read (`opsplay.documents.yaml`), those of
the grammar while plays and tasks are made of it (`opsplay.language`), and all others in the modules beside this one,
each a tuple of small functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from opsplay.errors import Severity

ERROR, WARNING = Severity.ERROR, Severity.WARNING


@dataclass(frozen=True)
class Rule:
    """What is wrong, in a line. An error is told as a warning where the run may never come to it."""

    summary: str
    severity: Severity = ERROR


RULES: dict[str, Rule] = {
    # --- files and YAML ---
    "unreadable-file": Rule("A file cannot be read, or is not UTF-8 text."),
    "yaml-syntax": Rule("A file is not YAML."),
    "yaml-tab": Rule("A tab stands where YAML wants blanks."),
    "yaml-tag": Rule("A YAML tag that nobody knows."),
    "duplicate-key": Rule("A key comes twice in one mapping; YAML would silently drop one of them."),
    "several-documents": Rule("A file holds several YAML documents where one is expected."),
    "encrypted-file": Rule("A file is encrypted and was not checked, for there is no password.", WARNING),
    "inventory": Rule("An inventory cannot be read."),
    # --- plays, blocks, tasks, roles ---
    "not-a-playbook": Rule("A playbook is a list of plays, and a play a mapping."),
    "not-a-list": Rule("Something else stands where a list must be."),
    "not-a-mapping": Rule("Something else stands where a mapping must be."),
    "play-without-hosts": Rule("A play names no hosts."),
    "empty-play": Rule("A play has nothing to do.", WARNING),
    "unknown-keyword": Rule("A word that is no keyword of a play, block, task, role, loop, prompt or import."),
    "unsupported-keyword": Rule("A keyword of Ansible that opsplay does not support."),
    "keyword-value": Rule("A keyword has a value that it cannot have."),
    "include-keyword": Rule("A keyword that has no effect on an include."),
    "missing-name": Rule("An import does not say of what."),
    "unknown-module": Rule("There is no module of this name."),
    "foreign-module": Rule("A module of Ansible that opsplay does not have."),
    "removed-module": Rule("A module that Ansible has removed from its language."),
    "two-modules": Rule("One task names two modules."),
    "task-without-module": Rule("A task names no module."),
    "become-user-alone": Rule("become_user has no effect without become.", WARNING),
    "never-alone": Rule("A task with no other tag than never cannot be chosen by a tag of its own.", WARNING),
    # --- parameters of modules ---
    "unknown-parameter": Rule("A module has no parameter of this name."),
    "parameter-value": Rule("A parameter has a value of the wrong type, or none of those it may have."),
    "missing-parameter": Rule("A parameter that the module needs is not given."),
    "exclusive-parameters": Rule("Two parameters are given that exclude each other."),
    "module-arguments": Rule("The parameters of a module are not written as it takes them."),
    # --- templates and conditions ---
    "bad-template": Rule("A template does not parse, or one that an import needs cannot be evaluated."),
    "unknown-filter": Rule("There is no filter of this name."),
    "unknown-test": Rule("There is no test of this name."),
    "unknown-lookup": Rule("There is no lookup of this name."),
    "undefined-variable": Rule("An import names a variable that has no value before the run."),
    "condition-braces": Rule("A condition holds {{ }}, though it is an expression by itself."),
    "condition-operand": Rule("A text or number stands by itself in a condition, and so always counts as true."),
    "constant-condition": Rule("A when that is always true, or always false.", WARNING),
    # --- loops ---
    "two-loops": Rule("One task has two loops."),
    "unknown-loop": Rule("There is no loop with_NAME."),
    "loop-value": Rule("A loop over something that is no list."),
    "bare-variable": Rule("A loop over a text that looks like a variable without {{ }}.", WARNING),
    # --- names of variables ---
    "variable-name": Rule("A name that no variable can have."),
    "register-name": Rule("register does not name a variable."),
    "reserved-name": Rule("A variable with the name of a keyword or of one of Ansible's own variables.", WARNING),
    # --- files and roles that are named ---
    "missing-file": Rule("There is no file of tasks, variables or plays where one is named."),
    "missing-role": Rule("There is no such role."),
    "missing-source": Rule("There is no file or template to be copied."),
    "circular-import": Rule("Files or roles bring each other in, in a circle."),
    # --- handlers, tags, hosts ---
    "unknown-handler": Rule("A task notifies a handler that nobody defines."),
    "unused-handler": Rule("A handler that nobody notifies.", WARNING),
    "unknown-tag": Rule("A tag that no task has is asked for."),
    "unmatched-hosts": Rule("A pattern of hosts that no host of the inventory matches.", WARNING),
}  # fmt: skip
