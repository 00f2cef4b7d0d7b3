"""Keep an option, or a whole section, in an INI file."""

from __future__ import annotations

import os
from typing import Any, Dict, Tuple
from typing import List as ListOf

from opsplay.agent.host import Host
from opsplay.agent.permissions import PERMISSIONS, describe, settle
from opsplay.agent.spec import Bool, Choice, List, Params, Path, Raw, Str
from opsplay.modules.files import _ini

PARAMS = dict(
    PERMISSIONS,
    path=Path(required=True, aliases=("dest",), help="The file"),
    section=Str(help="The section; without one the options before the first section are meant"),
    section_has_values=List(
        of=Raw(),
        help="Of several sections of this name, the one that has these: a list of option with value or values",
    ),
    option=Str(help="The option; without one the section as a whole is meant"),
    value=Str(help="The option's value"),
    values=List(of=Str(), split=False, default=[], help="The option's values, one line for each"),
    state=Choice("present", "absent", default="present", help="Whether it shall be there"),
    exclusive=Bool(default=True, help="Remove lines of the option with other values; when absent, with any value"),
    allow_no_value=Bool(default=False, help="Accept an option without a value and without an equals sign"),
    no_extra_spaces=Bool(default=False, help="No blanks around the equals sign"),
    ignore_spaces=Bool(default=False, help="Leave a line that differs only in the blanks around its equals sign"),
    modify_inactive_option=Bool(default=True, help="Replace a line of the option that is commented out"),
    create=Bool(default=True, help="Make the file when it is absent"),
    follow=Bool(default=False, help="Where the path is a link, edit what it leads to"),
    backup=Bool(default=False, help="Keep a dated copy of the file as it was"),
)
CHECK = "exact"
EXCLUSIVE = (("value", "values"),)


def run(host: Host, params: Params) -> Dict[str, Any]:
    wanted = wanted_option(host, params)
    path = host.real(params.path) if params.follow else host.expand(params.path)
    if host.is_directory(path):
        host.fail("Path %s is a directory !" % path, rc=256)
    content = host.read(path) if host.exists(path) else None
    if content is None and not params.create:
        host.fail("Destination %s does not exist!" % path, rc=257)
    if content is None and params.state == "absent":
        return host.outcome(path=path, msg="OK")
    text = (content or b"").decode("utf-8", "surrogateescape")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    lines = _ini.lines_of(text[len(mark) :])
    message = _ini.edit(lines, wanted)
    edited = (mark + "".join(lines)).encode("utf-8", "surrogateescape")
    if edited != content:
        if not host.is_directory(os.path.dirname(path)):
            host.directory(os.path.dirname(path))
        host.write(path, edited, params.mode, params.owner, params.group, params.backup, None, params.unsafe_writes)
    settle(host, path, params)
    result = dict(describe(host, path), path=path, msg=message)
    if host.backup_file:
        result["backup_file"] = host.backup_file
    return host.outcome(**result)


def wanted_option(host: Host, params: Params) -> _ini.Wanted:
    """What the task asks for. Fails for parameters that contradict each other."""
    # A dictionary has an attribute of this name.
    values = list(params["values"])
    if params.value is not None:
        if values:
            host.fail("parameters are mutually exclusive: value|values")
        values = [params.value]
    if params.option is not None and params.state == "present" and not values and not params.allow_no_value:
        host.fail("Parameter 'value(s)' must be defined if state=present and allow_no_value=False.")
    return _ini.Wanted(params, values, [condition(host, given) for given in params.section_has_values or ()])


def condition(host: Host, given: Any) -> Tuple[str, ListOf[str]]:
    """One entry of section_has_values."""
    if not isinstance(given, dict) or "option" not in given:
        host.fail("section_has_values: each entry needs an option, and may have value or values")
    values = given.get("values") or ([] if given.get("value") is None else [given["value"]])
    return str(given["option"]), [str(value) for value in values]
