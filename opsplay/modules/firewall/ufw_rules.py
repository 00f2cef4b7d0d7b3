"""Keep ufw's whole rule set as it is declared, without ever cutting the connection that the change comes through.

Rules are judged and written by ufw's own program on a copy of its files; the real ones are replaced, and the firewall
loaded, once. Before that a way back is armed: a unit on disk that puts the old rules back when its time is over or the
host starts anew. The control side removes it after a new connection has been made. What would cut the connection
opsplay works through is refused, or let in first (ssh_guard).
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from opsplay.agent import connection
from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Params
from opsplay.agent.spec import List as ListOf
from opsplay.agent.way_back import way_back
from opsplay.modules.firewall import _docker, _guard, _ufw
from opsplay.modules.firewall._rules import Rule, arguments, declared, expected, lines, of_connection, shown

POLICY = ("allow", "deny", "reject")

PARAMS = {
    "state": Choice("enabled", "disabled", default="enabled", help="Whether the firewall is in force, now and at boot"),
    "incoming": Choice(*POLICY, help="What becomes of incoming connections that no rule is about"),
    "outgoing": Choice(*POLICY, help="What becomes of outgoing connections that no rule is about"),
    "routed": Choice(*POLICY, help="What becomes of connections through this host that no rule is about"),
    "rules": ListOf(
        of=Rule(), split=False, default=[],
        help="The rules, in the order in which they are asked: short (22/tcp, OpenSSH) or with action, direction, "
        "interface, interface_out, from, from_port, to, port, proto, app, log, comment",
    ),
    "exclusive": Bool(default=False, help="Remove every rule that is not declared, and keep the declared order"),
    "logging": Choice("off", "low", "medium", "high", "full", help="How much ufw logs"),
    "ipv6": Bool(help="Whether rules hold for IPv6 too; without it IPv6 is cut off but for the loopback"),
    "ssh_guard": Choice(
        "refuse", "allow", "off", default="refuse",
        help="What to do when the rules would cut the connection that opsplay came through: refuse them; let it in by "
        "a rule of its own, also where it would only be limited; or nothing",
    ),
    "confirm_within": Int(
        min=0, max=3600, default=60,
        help="Seconds in which a new connection has to prove the change; 0 makes it without a way back",
    ),
    "docker": Choice(
        "warn", "close", "ignore", default="warn",
        help="Ports that Docker publishes go past ufw: warn of them, or close them, so that they obey the rules for "
        "incoming connections as well",
    ),
}  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    if host.which("ufw") is None:
        return _without_ufw(host, params)
    before = _ufw.current(host)
    after = wanted(host, params, before)
    _guard.keep_connection(host, params, after)
    changed = [path for path in _ufw.FILES if before.content.get(path) != after.content.get(path)]
    up = before.enabled and _ufw.is_loaded(host, before) and is_kept(host)
    due = bool(changed) or (after.enabled and not up)
    if due:
        host.note(picture(before, up), picture(after, after.enabled), "ufw")
    result: Dict[str, Any] = {"rules": lines(after.rules(False), after.rules(True))}
    if due:
        result["way_back"] = apply(host, params, before, after, changed)
    if after.enabled and params.docker == "close":
        _docker.close(host, after)
    elif params.docker != "ignore" or not after.enabled:
        _docker.leave_open(host)
    if after.enabled and params.docker != "ignore":
        result["docker_ports"] = tell_docker(host, params)
    return host.outcome(**{key: value for key, value in result.items() if value is not None})


def _without_ufw(host: Host, params: Params) -> Dict[str, Any]:
    """A preview of a host on which an earlier task would install ufw."""
    if not (host.check and host.shadow.brings_unknown_files):
        host.fail("ufw is not installed; install it first, with the module apt: {name: ufw}")
    policies = ["default %s %s" % (params[way], way) for way in _ufw.CHAINS if params[way]]
    host.note("", "\n".join(policies + declared(params.rules)) + "\n", "ufw")
    return host.outcome(rules=declared(params.rules))


def wanted(host: Host, params: Params, before: _ufw.Files) -> _ufw.Files:
    """ufw's files as they are to be."""
    found = connection.find() if params.ssh_guard == "allow" and params.state == "enabled" else None
    first = of_connection(found.client, found.server_port) if found is not None else None

    def lets_in(files: _ufw.Files) -> bool:
        return found is None or _guard.verdict(host, files, found)[0] == "allow"

    for rules in [params.rules] + ([[first] + params.rules] if first is not None else []):
        if is_so(params, before, rules) and lets_in(before):
            return before
    after = generate(host, params, before)
    return after if lets_in(after) else generate(host, params, before, first)


def is_so(params: Params, before: _ufw.Files, rules: List[Dict[str, str]]) -> bool:
    """Whether all that is declared is there, told without ufw's program, which takes a tenth of a second a rule."""
    settings: List[Any] = [(params[direction], before.policy(direction)) for direction in _ufw.CHAINS]
    settings += [(params.logging, before.logging), (params.ipv6, before.ipv6)]
    if any(asked not in (None, there) for asked, there in settings):
        return False
    if (params.state == "enabled") != before.enabled:
        return False
    for v6 in (False, True) if before.ipv6 else (False,):
        there = [rule.text for rule in before.rules(v6)]
        asked = [expected(rule, v6) for rule in rules]
        if None in asked:
            return False
        asked = [text for text in asked if text]
        if there != asked if params.exclusive else not set(asked) <= set(there):
            return False
    return True


def generate(host: Host, params: Params, before: _ufw.Files, first: Optional[Dict[str, str]] = None) -> _ufw.Files:
    """What ufw makes of its files when it is told all that is declared, and `first` a rule that precedes all others."""
    candidate = _ufw.Candidate(host, before, fresh=params.exclusive)
    try:
        if params.ipv6 is not None:
            candidate.change("IPV6", "yes" if params.ipv6 else "no", _ufw.DEFAULTS)
        for rule in params.rules:
            candidate.tell(arguments(rule), "the rule '%s'" % shown(rule))
        if first is not None:
            # Where it stands already, it may stand too late.
            candidate.tell(arguments(first, "delete"), "to move the rule '%s'" % shown(first))
            candidate.tell(arguments(first, "prepend"), "the rule '%s'" % shown(first))
        for direction in _ufw.CHAINS:
            if params[direction] and params[direction] != before.policy(direction):
                candidate.tell(["default", params[direction], direction], "the default for %s" % direction)
        # It also has ufw write the rules anew, in the form in which it would write them after any change.
        candidate.tell(["logging", params.logging or before.logging], "this level of logging")
        return candidate.files(params.state == "enabled")
    finally:
        candidate.discard()


def picture(files: _ufw.Files, active: bool) -> str:
    """The firewall for people, for the difference."""
    state, ipv6 = "active, also at boot" if active else "inactive", "on" if files.ipv6 else "off"
    text = ["%s, logging %s, IPv6 %s" % (state, files.logging, ipv6)]
    text += ["default %s %s" % (files.policy(direction), direction) for direction in _ufw.CHAINS]
    return "\n".join(text + lines(files.rules(False), files.rules(True))) + "\n"


def is_kept(host: Host) -> bool:
    """Whether the next start of the host brings the firewall up."""
    return host.query(["systemctl", "is-enabled", "--quiet", "ufw.service"]).rc == 0


def apply(host: Host, params: Params, before: _ufw.Files, after: _ufw.Files, changed: List[str]) -> Any:
    """Replace the files, and load them once. Returns what the control side has to prove."""
    back = ["ufw", "reload" if before.enabled else "disable"]
    with way_back(host, "ufw", params.confirm_within, changed, [back]) as armed:
        for path in changed:
            if path in after.content:
                host.write(path, after.content[path], shown=("", ""))
        if after.enabled:
            if not is_kept(host):
                host.must_run(["systemctl", "enable", "--quiet", "ufw.service"], foreseen=True)
            load(host)
        elif before.enabled:
            host.must_run(["ufw", "disable"], foreseen=True)
    return armed.told() if after.enabled else armed.end()


def load(host: Host) -> None:
    """Bring the files into force, whether or not the firewall is up: `enable` leaves one that is up as it is.

    ufw says on standard error what iptables did not take, and may end with 0.
    """
    done = host.must_run(["ufw", "reload"], foreseen=True, env={"LC_ALL": "C"})
    if done.stderr.strip().startswith("ERROR"):
        host.fail("ufw could not load its rules: %s" % done.stderr.strip())


def tell_docker(host: Host, params: Params) -> Any:
    """The ports that Docker publishes to everywhere; a warning where nothing keeps them in."""
    found = _docker.published(host)
    if found and params.docker == "warn":
        named = ", ".join("%s/%s" % (port["port"], port["proto"]) for port in found)
        host.warn("Docker publishes ports that ufw does not filter: %s; publish them on 127.0.0.1, or set "
                  "docker: close" % named)
    return found or None
