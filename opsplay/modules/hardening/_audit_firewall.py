"""Whether a firewall is in force, denies what it was not told of, for both versions of IP, and comes up at boot."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.modules.hardening._audit import OK, Answer, Check, Look, Unknown, verdict

# Tables that others add for single addresses: no firewall by themselves.
NO_FIREWALLS = ("f2b-", "opsplay_block")
# Rules that only lead to fail2ban's chains, or to what ufw leaves behind when it is switched off.
NO_RULES = ("jump f2b-", "jump ufw", "-j f2b-", "-j ufw")
USE = "ufw_rules: {incoming: deny, rules: [22/tcp]}"


def ufw(look: Look) -> Dict[str, str]:
    """What ufw says of itself, as `Status`, `Default` …; empty where it is not installed or not active."""
    if look.host.which("ufw") is None:
        return {}
    look.root()
    pairs = [line.partition(":") for line in look.said("ufw", "status", "verbose").splitlines()]
    said = {key.strip(): value.strip() for key, colon, value in pairs if colon}
    return said if said.get("Status") == "active" else {}


def chains(look: Look) -> List[Dict[str, Any]]:
    """The chains of nftables that see what comes in: family, policy, and whether they end with a drop."""
    look.root()
    if look.host.which("nft") is None:
        return iptables(look)
    return parsed(look.said("nft", "--stateless", "list", "ruleset"))


def parsed(text: str) -> List[Dict[str, Any]]:
    """The base chains for input in nft's own listing."""
    found: List[Dict[str, Any]] = []
    family, table, rules, chain = "", "", [], None  # type: Any, Any, Any, Any
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["table"]:
            family, table = words[1], words[2]
        elif words[:1] == ["chain"]:
            chain, rules = None, []
        elif "hook input" in line and "filter" in line:
            chain = {"family": family, "drops": "policy drop" in line, "rules": 0}
            if not table.startswith(NO_FIREWALLS):
                found.append(chain)
        elif words[:1] == ["}"]:
            if chain is not None and rules:
                chain["rules"] = len(rules)
                chain["drops"] = chain["drops"] or rules[-1].split()[0] in ("drop", "reject")
            chain, rules = None, []
        elif words and not any(mark in line for mark in NO_RULES):
            rules.append(line.strip())
    return found


def iptables(look: Look) -> List[Dict[str, Any]]:
    """The same of iptables, where there is no nft."""
    found = []
    for program, family in (("iptables", "ip"), ("ip6tables", "ip6")):
        if look.host.which(program) is not None:
            lines = look.said(program, "-S", "INPUT").splitlines()
            ends = lines[-1] in ("-A INPUT -j DROP", "-A INPUT -j REJECT") if lines else False
            drops = ends or "-P INPUT DROP" in lines
            rules = [line for line in lines[1:] if not any(mark in line for mark in NO_RULES)]
            found.append({"family": family, "drops": drops, "rules": len(rules)})
    return found


def in_force(look: Look) -> List[Dict[str, Any]]:
    """The chains that hold anything at all."""
    return [chain for chain in look.once("chains", lambda: chains(look)) if chain["rules"] or chain["drops"]]


def active(look: Look) -> Answer:
    if look.once("ufw", lambda: ufw(look)):
        return Answer(OK, "ufw is active")
    found = in_force(look)
    return verdict(bool(found), "rules for incoming connections" if found else "no firewall is in force")


def default_deny(look: Look) -> Answer:
    said = look.once("ufw", lambda: ufw(look))
    if said:
        policy = said.get("Default", "")
        return verdict(policy.startswith(("deny (incoming)", "reject (incoming)")), "ufw's default: " + policy)
    drops = sorted({chain["family"] for chain in in_force(look) if chain["drops"]})
    return verdict(bool({"ip", "inet"} & set(drops)), "denied by default: %s" % (", ".join(drops) or "nothing"))


def v6(look: Look) -> Answer:
    if (look.text("/proc/sys/net/ipv6/conf/all/disable_ipv6") or "1").strip() == "1":
        return Answer(OK, "IPv6 is off")
    if look.once("ufw", lambda: ufw(look)):
        # Told to leave IPv6 alone, ufw is to cut it off altogether; it is asked of the kernel.
        lines = look.said("ip6tables", "-S", "INPUT").splitlines()
        good = "-P INPUT DROP" in lines or "-P INPUT REJECT" in lines
        return verdict(good, "ufw denies IPv6 by default" if good else "ufw lets IPv6 in by default")
    drops = {chain["family"] for chain in in_force(look) if chain["drops"]}
    good = bool({"ip6", "inet"} & drops)
    return verdict(good, "IPv6 is denied by default" if good else "IPv6 is not denied by default")


def at_boot(look: Look) -> Answer:
    if look.once("ufw", lambda: ufw(look)):
        written = look.text("/etc/ufw/ufw.conf") or ""
        on = "enabled=yes" in written.lower().split() and look.is_enabled("ufw.service")
        return verdict(on, "ufw starts at boot" if on else "ufw does not start at boot")
    units = ("nftables.service", "netfilter-persistent.service", "firewalld.service")
    found = [unit for unit in units if look.is_enabled(unit)]
    if not found and in_force(look):
        raise Unknown("a firewall is in force, but what starts it at boot is not known")
    return verdict(bool(found), ", ".join(found) + " at boot" if found else "no firewall starts at boot")


CHECKS = (
    Check("firewall.active", "critical", "A firewall is in force", "ufw, or rules of nftables", USE, active),
    Check("firewall.default-deny", "critical", "What no rule allows is denied", "incoming: deny", USE, default_deny),
    Check("firewall.ipv6", "high", "The firewall holds for IPv6 too", "rules for IPv6, or IPv6 off",
          "ufw_rules: {ipv6: true}", v6),
    Check("firewall.boot", "high", "The firewall comes up at boot", "enabled", "ufw_rules: {state: enabled}", at_boot),
)  # fmt: skip
