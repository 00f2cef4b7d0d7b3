"""Firewall rules as data: what a playbook declares, ufw's command line for it, and ufw's own notes read back."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent.spec import Param, kind_of, to_bool

ACTIONS = ("allow", "deny", "reject", "limit")
DIRECTIONS = ("in", "out", "route")
LOGS = ("", "log", "log-all")
KEYS = ("action", "direction", "interface", "interface_out", "from", "from_port", "to", "port", "proto", "app", "log",
        "comment")  # fmt: skip
# What the same is called in Ansible's community.general.ufw.
ALIASES = {"rule": "action", "from_ip": "from", "src": "from", "to_ip": "to", "dest": "to", "to_port": "port",
           "name": "app", "protocol": "proto", "interface_in": "interface", "if": "interface"}  # fmt: skip
MARK = "### tuple ### "


class Rule(Param):
    """One rule: a dictionary of KEYS, or short `22/tcp`, `80,443/tcp`, `OpenSSH`, which are let in from everywhere."""

    type_name = "firewall rule"
    __slots__ = ()

    def convert(self, value: Any) -> Any:
        """All KEYS, as strings; empty where nothing is asked. Raises ValueError."""
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            value = short(str(value))
        if not isinstance(value, dict):
            raise ValueError("expected a rule such as {port: 22, proto: tcp}, not %s" % kind_of(value))
        rule = dict.fromkeys(KEYS, "")
        for key, given in value.items():
            name = ALIASES.get(key, key)
            if name not in rule:
                raise ValueError("a rule has no '%s'; it knows %s" % (key, ", ".join(KEYS)))
            rule[name] = text_of(name, given)
        rule["action"] = rule["action"] or "allow"
        rule["direction"] = rule["direction"] or "in"
        check(rule)
        return rule


def short(text: str) -> Dict[str, Any]:
    """A rule in a word: a port, ports with their protocol, or the name of an application."""
    port, slash, proto = text.partition("/")
    if port.replace(",", "").replace(":", "").isdigit():
        return {"port": port, "proto": proto}
    if slash:
        raise ValueError("%r is no rule; write 22/tcp, 80,443/tcp, the name of an application, or a dictionary" % text)
    return {"app": text}


def text_of(name: str, value: Any) -> str:
    """A field's text. YAML makes numbers of ports, and a list is as good as a text with commas."""
    if value is None or (name in ("from", "to") and value == "any"):
        return ""
    if name == "log" and (isinstance(value, bool) or str(value).lower() in ("yes", "no", "true", "false")):
        return "log" if to_bool(value) else ""
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value)
    if isinstance(value, (dict, bool)):
        raise ValueError("'%s' of a rule cannot be %s" % (name, kind_of(value)))
    text = str(value)
    return "" if text == "any" and name in ("port", "from_port", "proto") else text


def check(rule: Dict[str, str]) -> None:
    """Refuse what ufw could not mean. Raises ValueError."""
    for name, choices in (("action", ACTIONS), ("direction", DIRECTIONS), ("log", LOGS)):
        if rule[name] not in choices:
            words = ", ".join(filter(None, choices))
            raise ValueError("'%s' of a rule is one of %s, not %r" % (name, words, rule[name]))
    for name in ("from", "to"):
        if rule[name]:
            check_network(name, rule[name])
    for name in ("port", "from_port"):
        check_ports(name, rule[name], rule["proto"])
    if rule["app"] and (rule["port"] or rule["proto"]):
        raise ValueError("a rule is for an application or for ports, not both: %s" % shown(rule))
    if rule["interface_out"] and rule["direction"] != "route":
        raise ValueError("interface_out is for rules with direction: route: %s" % shown(rule))
    if "\n" in rule["comment"] or "'" in rule["comment"]:
        raise ValueError("a comment holds neither a line end nor an apostrophe: %r" % rule["comment"])


def check_network(name: str, text: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("'%s' of a rule is an address or a network, not %r" % (name, text))


def check_ports(name: str, text: str, proto: str) -> None:
    """`22`, `80,443` or `6000:6007`; several only with their protocol, for that is iptables' rule."""
    if not text:
        return
    for part in text.split(","):
        bounds = part.split(":")
        if len(bounds) > 2 or not all(bound.isdigit() and 0 < int(bound) < 65536 for bound in bounds):
            raise ValueError("'%s' of a rule is a port (1 to 65535), a list or a range such as 6000:6007, not %r"
                             % (name, text))  # fmt: skip
        if len(bounds) == 2 and int(bounds[0]) >= int(bounds[1]):
            raise ValueError("the range %s of '%s' does not grow" % (part, name))
    if not text.isdigit() and not proto:
        raise ValueError("several ports (%s) need their proto, tcp or udp" % text)


def arguments(rule: Dict[str, str], *order: str) -> List[str]:
    """ufw's command line for a rule, behind the program's name; `order` is what is done with it: delete, prepend."""
    route = rule["direction"] == "route"
    words = ["route" if route else "rule"] + list(order) + [rule["action"]]
    if route:
        words += ["in", "on", rule["interface"]] if rule["interface"] else []
        words += ["out", "on", rule["interface_out"]] if rule["interface_out"] else []
    else:
        words.append(rule["direction"])
        words += ["on", rule["interface"]] if rule["interface"] else []
    words += [rule["log"]] if rule["log"] else []
    words += ["proto", rule["proto"]] if rule["proto"] else []
    words += ["from", rule["from"] or "any"] + (["port", rule["from_port"]] if rule["from_port"] else [])
    words += ["to", rule["to"] or "any"] + (["port", rule["port"]] if rule["port"] else [])
    words += ["app", rule["app"]] if rule["app"] else []
    return words + (["comment", rule["comment"]] if rule["comment"] else [])


def shown(rule: Dict[str, str]) -> str:
    """A declared rule in a line, as ufw would be told."""
    return "ufw " + " ".join(word for word in arguments(rule) if word != "rule")


def expected(rule: Dict[str, str], v6: bool) -> Optional[str]:
    """What ufw will have noted down for a declared rule, empty where it holds only for the other IP version; None where
    only ufw can tell."""
    if rule["app"] or rule["proto"] not in ("", "tcp", "udp") or "," in rule["port"] + rule["from_port"]:
        return None
    ends = []
    for name in ("to", "from"):
        if not rule[name]:
            ends.append("::/0" if v6 else "0.0.0.0/0")
        elif (":" in rule[name]) != v6:
            return ""
        else:
            ends.append(rule[name].replace("/128", "") if v6 else network(rule[name]))
    action = ("route:" if rule["direction"] == "route" else "") + rule["action"]
    action += "_" + rule["log"] if rule["log"] else ""
    ports = rule["port"] or "any", rule["from_port"] or "any"
    words = [action, rule["proto"] or "any", ports[0], ends[0], ports[1], ends[1], way(rule)]
    return " ".join(words) + (" comment=" + rule["comment"].encode().hex() if rule["comment"] else "")


def network(text: str) -> str:
    """An address or network without the bits behind its mask, and one address without a mask, as ufw writes those of
    IPv4."""
    import ipaddress

    found = ipaddress.ip_network(text, strict=False)
    return str(found.network_address) if found.prefixlen == found.max_prefixlen else str(found)


def way(rule: Dict[str, str]) -> str:
    if rule["direction"] != "route":
        return rule["direction"] + ("_" + rule["interface"] if rule["interface"] else "")
    ends = ["in_" + rule["interface"]] if rule["interface"] else []
    return "!".join(ends + (["out_" + rule["interface_out"]] if rule["interface_out"] else [])) or "in"


class Noted:
    """A rule as ufw has noted it down, for one of IPv4 and IPv6."""

    __slots__ = ("text", "action", "log", "routed", "proto", "ports", "to", "from_ports", "source", "app", "way",
                 "comment")  # fmt: skip

    def __init__(self, text: str) -> None:
        self.text = text
        text, _, comment = text.partition(" comment=")
        words = text.split()
        action, _, log = words[0].partition("_")
        self.routed = action.startswith("route:")
        self.action = action.replace("route:", "")
        self.log = log
        self.proto, self.ports, self.to, self.from_ports, self.source = words[1:6]
        self.app = "" if len(words) < 9 else words[6 if words[6] != "-" else 7].replace("%20", " ")
        self.way = words[-1]
        self.comment = bytes.fromhex(comment.strip()).decode("utf-8", "replace") if comment else ""

    @property
    def is_v6(self) -> bool:
        return ":" in self.to or ":" in self.source

    def line(self) -> str:
        """The rule for people, without its IP version."""
        way = self.way.replace("in_", "in on ").replace("out_", "out on ").replace("!", " ")
        ends = []
        for word, address, ports in (("from", self.source, self.from_ports), ("to", self.to, self.ports)):
            place = "any" if address in ("0.0.0.0/0", "::/0") else address
            ends.append("%s %s" % (word, place) + (" port %s" % ports if ports != "any" else ""))
        words = ["route" if self.routed else "", self.action, way, self.log]
        words += ["app " + self.app] if self.app else ([self.proto] if self.proto != "any" else [])
        return " ".join(filter(None, words + ends)) + ("  # %s" % self.comment if self.comment else "")


def noted(text: str) -> List[Noted]:
    """The rules that a file of ufw's holds, in their order."""
    return [Noted(line[len(MARK) :]) for line in text.splitlines() if line.startswith(MARK)]


def lines(v4: List[Noted], v6: List[Noted]) -> List[str]:
    """Rules for people in their order; what holds for both IP versions is said once."""
    rest = [rule.line() for rule in v6]
    found = []
    for rule in v4:
        line = rule.line()
        if line in rest:
            # What IPv6 alone has stays between what stands around it in its own file.
            place = rest.index(line)
            found += ["%s  (v6)" % other for other in rest[:place]]
            del rest[: place + 1]
            found.append(line)
        else:
            found.append("%s  (v4)" % line)
    return found + ["%s  (v6)" % other for other in rest]


def decides(rules: List[Noted], policy: str, client: str, server: str, port: int, interface: str) -> Tuple[str, str]:
    """What becomes of a new TCP connection: allow, limit, deny or reject; and the rule or default that says so."""
    for rule in rules:
        if not rule.routed and matches(rule, client, server, port, interface):
            return rule.action, "the rule '%s'" % rule.line()
    return policy, "the default for incoming connections, %s" % policy


def matches(rule: Noted, client: str, server: str, port: int, interface: str) -> bool:
    """Whether a rule is about a connection from `client` to `server` and its `port`."""
    if not rule.way.startswith("in") or rule.proto not in ("tcp", "any") or rule.from_ports != "any":
        return False
    wanted = rule.way.partition("_")[2]
    if wanted and wanted != interface:
        return False
    return within(client, rule.source) and within(server, rule.to) and has_port(rule.ports, port)


def within(address: str, network: str) -> bool:
    import ipaddress

    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


def has_port(text: str, port: int) -> bool:
    """Whether `22`, `80,443`, `6000:6007` or `any` holds a port."""
    if text == "any":
        return True
    for part in text.split(","):
        first, _, last = part.partition(":")
        if int(first) <= port <= int(last or first):
            return True
    return False


def of_connection(client: str, port: int) -> Dict[str, str]:
    """The rule that keeps a connection like the one that opsplay came through."""
    rule = dict.fromkeys(KEYS, "")
    rule.update(action="allow", direction="in", proto="tcp", port=str(port), comment="opsplay: control side")
    rule["from"] = client
    return rule


def interface_of(addresses: str, server: str) -> str:
    """The interface that has an address, from what `ip -o address show` prints; empty when none has."""
    for line in addresses.splitlines():
        words = line.split()
        if len(words) > 3 and words[3].partition("/")[0] == server:
            return words[1]
    return ""


def declared(rules: Optional[List[Dict[str, str]]]) -> List[str]:
    """What a preview shows where ufw is not there yet to say what it would note down."""
    return [shown(rule) for rule in rules or ()]
