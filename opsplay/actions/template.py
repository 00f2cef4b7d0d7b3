"""Render a Jinja2 template and put the result on the host."""

from __future__ import annotations

import getpass
import os
import platform
import time
from typing import Any

from opsplay.actions import copy
from opsplay.actions.base import ActionFailed, Control, Prepared
from opsplay.agent.spec import Bool, Choice, Mode, Params, Path, Str
from opsplay.documents.keyring import KEYRING
from opsplay.errors import DocumentError, Location

PARAMS = {
    "src": Path(required=True, help="The template, in the folder templates or beside the playbook"),
    "dest": Path(required=True, help="Where the result goes on the host"),
    "backup": Bool(default=False, help="Keep a dated copy of a file that is replaced"),
    "mode": Mode(help="Permissions of the result; preserve takes the template's own"),
    "owner": Str(help="The user who shall own it"),
    "group": Str(help="The group that shall own it"),
    "force": Bool(default=True, help="Replace a file whose content differs"),
    "follow": Bool(default=False, help="Write through a symbolic link at dest"),
    "validate": Str(help="A command with %s that checks the result before it is used"),
    "newline_sequence": Choice("\n", "\r", "\r\n", default="\n", help="What ends a line of the result"),
    "output_encoding": Str(default="utf-8", help="The encoding of the result"),
    "trim_blocks": Bool(default=True, help="Remove the newline after a block"),
    "lstrip_blocks": Bool(default=False, help="Remove blanks before a block"),
    "block_start_string": Str(help="What begins a block, {% when not given"),
    "block_end_string": Str(help="What ends a block, %} when not given"),
    "variable_start_string": Str(help="What begins an expression, {{ when not given"),
    "variable_end_string": Str(help="What ends an expression, }} when not given"),
    "comment_start_string": Str(help="What begins a comment, {# when not given"),
    "comment_end_string": Str(help="What ends a comment, #} when not given"),
}
CHECK = "exact"

JINJA_OPTIONS = ("trim_blocks", "lstrip_blocks", "newline_sequence") + tuple(
    f"{kind}_{end}_string" for kind in ("block", "variable", "comment") for end in ("start", "end")
)
COPIED = ("dest", "backup", "mode", "owner", "group", "force", "follow", "validate")


def prepare(control: Control, params: Params) -> Prepared:
    source = control.find_file("templates", params.src)
    text = render(control, source, params)
    fields: dict[str, Any] = {name: param.default for name, param in copy.PARAMS.items()}
    fields.update({name: params[name] for name in COPIED}, src=source)
    return copy.remote(fields, control, text.encode(params.output_encoding, "surrogateescape"), source)


def render(control: Control, source: str, params: Params) -> str:
    """The template's text with the host's variables. Raises TemplateError with the template's line."""
    try:
        text = KEYRING.read_secret(source).decode("utf-8")
    except DocumentError as problem:
        raise ActionFailed(str(problem)) from problem
    except (OSError, UnicodeDecodeError) as problem:
        raise ActionFailed(f"cannot read the template {source}: {problem}") from problem
    options = {name: params[name] for name in JINJA_OPTIONS if params[name] is not None}
    folders = (os.path.dirname(source), os.path.dirname(control.at.file) or ".")
    templar = control.template_variables(about(source, params.dest))
    return templar.file(text, options, folders, Location(source))


def about(source: str, dest: str) -> dict[str, Any]:
    """What a template may know of itself."""
    changed = time.localtime(os.stat(source).st_mtime)
    return {
        "ansible_managed": "Ansible managed",
        "template_path": source,
        "template_fullpath": os.path.abspath(source),
        "template_destpath": dest,
        "template_host": platform.node(),
        "template_uid": getpass.getuser(),
        "template_mtime": time.strftime("%Y-%m-%d %H:%M:%S", changed),
        "template_run_date": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
