"""Replace all that a regular expression finds in a text file."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from opsplay.agent.host import Host
from opsplay.agent.spec import Params, Str
from opsplay.modules.files._editing import EDITING, open_text, plain_pattern, save

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
        result, count = substitute(params, content[start:end])
    except (ValueError, IndexError) as problem:
        host.fail("regexp, replace, after or before is not a regular expression: %s" % problem)
    if not count or result == content[start:end]:
        return dict(save(host, params, text, None, ""), rc=0)
    edited = (content[:start] + result + content[end:]).encode(params.encoding, "surrogateescape")
    outcome = save(host, params, text, edited, "%d replacements made" % count)
    if host.backup_file:
        outcome["backup_file"] = host.backup_file
    return dict(outcome, rc=0)


def substitute(params: Params, content: str) -> Tuple[str, int]:
    """The content with what was found replaced, and how often. Raises ValueError or IndexError for bad expressions."""
    plain = plain_pattern(params.regexp)
    if plain is not None and plain.text and not (plain.from_start or plain.to_end) and "\\" not in params.replace:
        text = plain.text.decode("utf-8", "surrogateescape")
        return content.replace(text, params.replace), content.count(text)
    import re

    try:
        return re.subn(params.regexp, params.replace, content, flags=re.MULTILINE)
    except re.error as problem:
        raise ValueError(str(problem))


def section_pattern(params: Params) -> str:
    """The expression whose group `subsection` is what may be changed; empty for the whole file."""
    if params.after and params.before:
        return "%s(?P<subsection>.*?)%s" % (params.after, params.before)
    if params.after:
        return "%s(?P<subsection>.*)" % params.after
    return "(?P<subsection>.*)%s" % params.before if params.before else ""


def section(content: str, params: Params) -> Optional[Tuple[int, int]]:
    """Where the part begins and ends that may be changed; None when after and before do not match."""
    pattern = section_pattern(params)
    if not pattern:
        return 0, len(content)
    import re

    try:
        match = re.search(pattern, content, re.DOTALL)
    except re.error as problem:
        raise ValueError(str(problem))
    return match.span("subsection") if match else None
