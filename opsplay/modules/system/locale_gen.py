"""Make or remove locales, on Debian and Ubuntu."""

from __future__ import annotations

from typing import Any, Dict, Set
from typing import List as ListOf

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.agent.spec import Choice, List, Params, Str

PARAMS = {
    "name": List(of=Str(), required=True, help="The locales, each as in /etc/locale.gen, e.g. de_CH.UTF-8"),
    "state": Choice("present", "absent", default="present", help="Whether the locales shall be there"),
}
CHECK = "exact"
WANTED = "/etc/locale.gen"
SUPPORTED = "/usr/share/i18n/SUPPORTED"
# Where a preview keeps what `locale -a` would say.
ARCHIVE = "/usr/lib/locale/locale-archive"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if not host.exists(WANTED):
        return without_package(host, params)
    present = params.state == "present"
    known = supported(host)
    unknown = [name for name in params.name if normal(name) not in known]
    if unknown:
        host.fail("not available on this host: %s; see %s" % (", ".join(unknown), SUPPORTED), name=params.name)
    text = host.read(WANTED).decode("utf-8", "surrogateescape")
    # What comes with libc itself is made without a line in the file, and does not go with one.
    there = existing(host) if present else in_force(text)
    lines = [known[normal(name)] for name in params.name if (normal(name) in there) != present]
    if lines:
        host.write(WANTED, edited(text, lines, present))
        host.must_run(["locale-gen"], foreseen=True)
        foresee(host, lines, present)
    return host.outcome(name=params.name, mechanism="glibc")


def without_package(host: Host, params: Params) -> Dict[str, Any]:
    """Fails, but for a preview in which an earlier task would install the package."""
    if not (host.check and host.shadow.brings_unknown_files):
        host.fail("%s is not there: install the package locales first" % WANTED, name=params.name)
    host.warn("%s is not there yet; it is taken to come with a package that would be installed" % WANTED)
    host.run(["locale-gen"], foreseen=True)
    return host.outcome(name=params.name, mechanism="glibc")


def supported(host: Host) -> Dict[str, str]:
    """The lines of all locales that can be made, `de_CH.UTF-8 UTF-8`, by their names without ornaments."""
    found: Dict[str, str] = {}
    for path in (SUPPORTED, "/usr/local/share/i18n/SUPPORTED", WANTED):
        try:
            text = host.read(path).decode("utf-8", "replace")
        except OSError:
            continue
        for line in text.split("\n"):
            words = line.lstrip("# ").split()
            if len(words) == 2:
                found.setdefault(normal(words[0]), " ".join(words))
    return found


def normal(name: str) -> str:
    """One spelling of a locale's name: libc takes `UTF-8` and `utf8` for the same, `locale -a` writes the latter."""
    place, dot, rest = name.partition(".")
    charset, at, modifier = rest.partition("@")
    return place + dot + charset.replace("-", "").lower() + at + modifier


def existing(host: Host) -> Set[str]:
    """The locales that are made, as `locale -a` lists them."""
    node = host.shadow.node(ARCHIVE) if host.check else None
    if node is not None and node.content is not None:
        return set(node.content.decode().split("\n"))
    return {normal(name) for name in host.query(["locale", "-a"], env={"LC_ALL": "C"}).stdout.split("\n") if name}


def in_force(text: str) -> Set[str]:
    """The locales that the lines of /etc/locale.gen ask for."""
    lines = [line.split() for line in text.split("\n")]
    return {normal(words[0]) for words in lines if words and not words[0].startswith("#")}


def foresee(host: Host, lines: ListOf[str], present: bool) -> None:
    """Let the tasks that follow in a preview find these locales, or miss them."""
    if host.check:
        names = {normal(line.split()[0]) for line in lines}
        left = existing(host) | names if present else existing(host) - names
        host.pretend(ARCHIVE, Node("file", content="\n".join(sorted(left)).encode()))


def edited(text: str, lines: ListOf[str], present: bool) -> str:
    """/etc/locale.gen with these lines in force, or commented out; every other line stays as it is."""
    kept = text.split("\n")
    for line in lines:
        words = line.split()
        places = [number for number, current in enumerate(kept) if current.lstrip("# ").split() == words]
        for number in places:
            kept[number] = line if present else "# " + line
        if present and not places:
            kept.insert(len(kept) - 1 if not kept[-1] else len(kept), line)
    return "\n".join(kept)
