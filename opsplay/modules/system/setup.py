"""Gather facts about the host."""

from __future__ import annotations

from typing import Any, Callable, Dict, Set
from typing import List as ListOf

from opsplay.agent import facts
from opsplay.agent.host import Host
from opsplay.agent.spec import Int, List, Params, Path, Str
from opsplay.modules.system._extra import EXTRA, FACT_PATH, WHEN_NAMED, local
from opsplay.modules.system._hardware import hardware
from opsplay.modules.system._network import network
from opsplay.modules.system._virtual import virtual

PARAMS = {
    "gather_subset": List(
        of=Str(), default=["all"],
        help="Which facts: all, min, hardware, network, virtual or one collector; with ! before it, all but these",
    ),
    "gather_timeout": Int(default=10, help="Seconds that a single collector may take, where it runs a program"),
    "filter": List(of=Str(), default=[], help="Return only the facts of these names or patterns"),
    "fact_path": Path(default=FACT_PATH, help="The directory that holds the host's own *.fact files"),
}
ALIASES = ("gather_facts",)
CHECK = "exact"

COLLECTORS: Dict[str, Callable[[Any], Dict[str, Any]]] = dict(
    facts.MINIMAL,
    local=lambda host: local(host, FACT_PATH),
    hardware=hardware,
    network=network,
    virtual=virtual,
    **EXTRA,
    **WHEN_NAMED,
)
# What a collector's facts are completed with, as Ansible returns them together.
NEEDS = {
    "hardware": ("platform",),
    "network": ("platform", "distribution"),
    "pkg_mgr": ("distribution",),
    "service_mgr": ("platform", "distribution"),
    "ssh_pub_keys": ("platform",),
}
# Single facts by the collector that brings them.
MEMBERS = {
    "hardware": "devices dmi memory mounts processor processor_cores processor_count",
    "network": "interfaces default_ipv4 default_ipv6 all_ipv4_addresses all_ipv6_addresses",
    "virtual": "virtualization_type virtualization_role virtualization_tech_guest virtualization_tech_host",
    "platform": "machine kernel kernel_version system architecture machine_id",
    "python": "python_version",
    "distribution": "os_family distribution_version distribution_release distribution_major_version",
    "user": "user_id user_dir user_gecos user_gid user_shell user_uid real_user_id effective_user_id "
            "effective_group_ids",
    "chroot": "is_chroot",
    "iscsi": "fibre_channel_wwn hostnqn nvme",
    "caps": "capabilities system_capabilities system_capabilities_enforced",
    "ssh_pub_keys": "ssh_host_pub_keys ssh_host_key_dsa_public ssh_host_key_rsa_public ssh_host_key_ecdsa_public "
                    "ssh_host_key_ed25519_public",
}
SUBSET_NAMES = {member: name for name, members in MEMBERS.items() for member in members.split()}


def run(host: Host, params: Params) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for name in wanted(host, params.gather_subset, list(COLLECTORS)):
        if name == "local":
            found.update(local(host, host.expand(params.fact_path)))
        elif name == "hardware":
            found.update(hardware(host, params.gather_timeout))
        else:
            found.update(COLLECTORS[name](host))
    named = {"ansible_" + clean(name): value for name, value in found.items()}
    named.update(gather_subset=params.gather_subset, module_setup=True)
    return host.outcome(ansible_facts=filtered(named, params.filter), changed=False)


def wanted(host: Host, subset: ListOf[str], known: ListOf[str]) -> ListOf[str]:
    """The collectors that a gather_subset asks for, in the order in which they are known."""
    minimal = set(facts.MINIMAL) | {"local"}
    add: Set[str] = set()
    drop: Set[str] = set()
    for word in subset:
        bare = word.lstrip("!")
        group = {"all": set(known) - set(WHEN_NAMED), "min": minimal}.get(bare)
        if group is None:
            name = SUBSET_NAMES.get(bare, bare)
            if name not in known:
                allowed = ", ".join(sorted(["all", "min"] + known))
                host.fail("there is no fact subset %r; there are %s" % (bare, allowed), gather_subset=subset)
            group = {name}
        if not word.startswith("!"):
            add |= group
        elif bare == "all":
            drop |= group - minimal
        else:
            drop |= group
    if not add and not any(word in ("!all", "!min") for word in subset):
        add = set(known) - set(WHEN_NAMED)
    if "!min" not in subset:
        add |= minimal
    explicit = {SUBSET_NAMES.get(word, word) for word in subset} & set(known)
    chosen = (add - drop) | explicit
    for name in list(chosen):
        chosen.update(NEEDS.get(name, ()) if "!min" in subset else ())
    return [name for name in known if name in chosen]


def clean(name: str) -> str:
    """A fact's name as a variable's name: interfaces may hold what a name must not."""
    for char in "-:.":
        name = name.replace(char, "_")
    return name


def filtered(found: Dict[str, Any], patterns: ListOf[str]) -> Dict[str, Any]:
    """The facts whose names match a pattern, given with or without ansible_; all of them without patterns."""
    patterns = [pattern for pattern in patterns if pattern]
    if not patterns or "*" in patterns:
        return found
    exact = set(patterns) | {"ansible_" + pattern for pattern in patterns}
    loose = [pattern for pattern in exact if any(char in pattern for char in "*?[")]
    if not loose:
        return {name: value for name, value in found.items() if name in exact}
    # fnmatch imports re: only a pattern is worth that.
    from fnmatch import fnmatch

    return {
        name: value
        for name, value in found.items()
        if name in exact or any(fnmatch(name, pattern) for pattern in loose)
    }
