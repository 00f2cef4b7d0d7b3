"""Replace all that a regular expression finds in a text file."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from opsplay.agent.host import Host
from opsplay.agent.spec import Params, Str
from opsplay.modules.files._editing import EDITING, open_text, save

PARAMS = dict(
    EDITING,
    regexp=Str(required=True, help="What is replaced; ^ and $ are the ends of lines"),
    replace=Str(default="", help="What comes in its place, with \\1 and the like; without it what is found is removed"),
    after=Str(help="Only what comes after this expression is changed"),
    before=Str(help="Only what comes before this expression is changed"),
    encoding=Str(default="utf-8", help="The file's encoding"),
)
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    import re

    text = open_text(host, params, False, "Path %s does not exist !")
    try:
        content = (text.content or b"").decode(params.encoding, "surrogateescape")
    except (LookupError, UnicodeError) as problem:
        host.fail("cannot read %s as %s: %s" % (text.path, params.encoding, problem))
    try:
        bounds = section(content, params)
        if bounds is None:
            message = "Pattern for before/after params did not match the given file: %s" % section_pattern(params)
            return host.outcome(msg=message, rc=0)
        start, end = bounds
        result, count = re.subn(params.regexp, params.replace, content[start:end], flags=re.MULTILINE)
    except (re.error, IndexError) as problem:
        host.fail("regexp, replace, after or before is not a regular expression: %s" % problem)
    if not count or result == content[start:end]:
        return dict(save(host, params, text, None, ""), rc=0)
    edited = (content[:start] + result + content[end:]).encode(params.encoding, "surrogateescape")
    outcome = save(host, params, text, edited, "%d replacements made" % count)
    if host.backup_file:
        outcome["backup_file"] = host.backup_file
    return dict(outcome, rc=0)


def section_pattern(params: Params) -> str:
    """The expression whose group `subsection` is what may be changed; empty for the whole file."""
    if params.after and params.before:
        return "%s(?P<subsection>.*?)%s" % (params.after, params.before)
    if params.after:
        return "%s(?P<subsection>.*)" % params.after
    return "(?P<subsection>.*)%s" % params.before if params.before else ""


def section(content: str, params: Params) -> Optional[Tuple[int, int]]:
    """Where the part begins and ends that may be changed; None when after and before do not match."""
    import re

    pattern = section_pattern(params)
    if not pattern:
        return 0, len(content)
    match = re.search(pattern, content, re.DOTALL)
    return match.span("subsection") if match else None
