"""The things that the apt module does, each as: plan, then apply when there is something to do."""

from __future__ import annotations

import os
from typing import List

from opsplay.agent.host import Host
from opsplay.agent.spec import Params
from opsplay.modules.packages import _dpkg, _wanted
from opsplay.modules.packages._aptget import DPKG_SECONDS, ENVIRONMENT, AptGet
from opsplay.modules.packages._dpkg import Database
from opsplay.modules.packages._plan import Plan, Step

ARCHIVES = "/var/cache/apt/archives"
HELPER = "/usr/lib/apt/apt-helper"


def install(host: Host, params: Params, apt: AptGet, names: List[str]) -> Plan:
    """Install what is missing, or with state latest bring it up to date. Starts no apt-get when all is there."""
    database = Database.read(host)
    wanted = _wanted.expand(host, _wanted.parse(host, names), database, known=True)
    if params.only_upgrade:
        wanted = [entry for entry in wanted if _is_installed(host, entry, database)]
    satisfied = [entry for entry in wanted if _wanted.is_satisfied(host, entry, database)]
    if params.state == "latest":
        missing = [entry for entry in wanted if not _stays(host, entry, database)]
    else:
        missing = [entry for entry in wanted if entry not in satisfied]
    plan = Plan([])
    if missing or (params.autoremove and wanted):
        words = ["install"] + [_wanted.argument_of(host, entry) for entry in missing]
        plan = apt.plan(words)
        _refuse_guesses(host, plan, missing, database)
        _add_pretended(host, plan, missing, database)
        if plan.unknown:
            host.warn("not in the present package lists, and taken to be in the next: %s" % ", ".join(plan.unknown))
        if plan:
            apt.apply(plan, words)
    _keep(host, [entry.name for entry in satisfied])
    return plan


def _is_installed(host: Host, entry: _wanted.Wanted, database: Database) -> bool:
    package = _wanted.find(host, entry, database)
    return package is not None and package.is_installed


def _stays(host: Host, entry: _wanted.Wanted, database: Database) -> bool:
    """Whether a preview, or a virtual name that is provided, leaves apt nothing to bring up to date."""
    if host.check and host.shadow.packages.get(entry.name):
        return True
    return not _is_installed(host, entry, database) and _wanted.is_satisfied(host, entry, database)


def _refuse_guesses(host: Host, plan: Plan, missing: List[_wanted.Wanted], database: Database) -> None:
    """apt-get takes a name that it does not know as a pattern, or its last sign as an order: neither was meant."""
    planned = {name.partition(":")[0] for name in plan.names()}
    for entry in missing:
        name = entry.name.partition(":")[0]
        there = database.find(name)
        if name in planned or (there is not None and there.is_installed):
            continue
        # A virtual package is known to apt, and something else is planned in its place.
        if not host.query(["apt-cache", "policy", name]).stdout.strip():
            host.fail("there is no package %s; check the spelling, or set update_cache: true" % entry.name)


def _add_pretended(host: Host, plan: Plan, missing: List[_wanted.Wanted], database: Database) -> None:
    """What earlier tasks of a preview would have installed is not there for apt-get; what they would remove is."""
    if not host.check:
        return
    known = {name for name, there in host.shadow.packages.items() if there}
    plan.steps = [step for step in plan.steps if step.old or step.name not in known]
    for entry in missing:
        real = database.find(entry.name)
        if host.shadow.packages.get(entry.name) is False and real is not None and real.is_installed:
            plan.steps.append(Step(entry.name, "", real.version))


def _keep(host: Host, names: List[str]) -> None:
    """What a playbook names is no longer there for others' sake: autoremove is to leave it. No change by itself."""
    automatic = [] if host.check else _dpkg.installed_automatically(names)
    if automatic:
        host.query(["apt-mark", "manual"] + automatic, env=ENVIRONMENT)


def remove(host: Host, params: Params, apt: AptGet, names: List[str]) -> Plan:
    """Remove what is installed; with purge also what has left its configuration."""
    database = Database.read(host)
    present: List[str] = []
    for entry in _wanted.expand(host, _wanted.parse(host, names), database, known=False):
        package = _wanted.find(host, entry, database)
        if package is not None and (package.is_installed or (params.purge and package.has_configuration)):
            present.append(entry.name)
    if not present and not params.autoremove:
        return Plan([])
    pretended = [name for name in present if host.check and host.shadow.packages.get(name)]
    words = ["remove"] + [name for name in present if name not in pretended]
    plan = apt.plan(words)
    plan.steps = [step for step in plan.steps if not host.check or host.shadow.packages.get(step.name) is not False]
    plan.steps += [Step(name, "(unknown)", "") for name in pretended]
    if plan:
        apt.apply(plan, words)
    return plan


def upgrade(apt: AptGet, kind: str) -> Plan:
    """Upgrade all packages."""
    words = ["dist-upgrade"] if kind in ("dist", "full") else ["upgrade", "--with-new-pkgs"]
    return _carry_out(apt, words)


def build_dependencies(host: Host, apt: AptGet, names: List[str]) -> Plan:
    """Install what the named source packages need to be built."""
    return _carry_out(apt, ["build-dep"] + [entry.argument() for entry in _wanted.parse(host, names)])


def autoremove(apt: AptGet) -> Plan:
    """Remove packages that nothing needs any more."""
    return _carry_out(apt, ["autoremove"])


def _carry_out(apt: AptGet, words: List[str]) -> Plan:
    plan = apt.plan(words)
    if plan:
        apt.apply(plan, words)
    return plan


def repair(host: Host, apt: AptGet) -> Plan:
    """End what an interrupted dpkg has begun, then correct dependencies."""
    audit = host.query(["dpkg", "--audit"], env=ENVIRONMENT)
    if audit.stdout.strip():
        host.note(audit.stdout, "", "dpkg --audit")
        with host.critical(DPKG_SECONDS):
            host.must_run(["dpkg", "--configure", "-a"], foreseen=True, env=ENVIRONMENT)
    return _carry_out(apt, ["--fix-broken", "install"])


def install_file(host: Host, params: Params, apt: AptGet) -> Plan:
    """Install a package file with what it depends on."""
    if "://" not in params.deb:
        return _install_local(host, apt, host.expand(params.deb))
    if host.check:
        host.note("", params.deb + "\n", "packages")
        host.warn("%s is not fetched in a preview: whether its version is installed cannot be known" % params.deb)
        return Plan([])
    path = "%s/.opsplay-%d-%s.deb" % (ARCHIVES, os.getpid(), os.urandom(6).hex())
    host.temporary.paths.add(path)
    host.progress("fetching %s" % params.deb)
    done = host.query([HELPER, "download-file", params.deb, path], env=ENVIRONMENT)
    if done.rc != 0:
        apt.fail("cannot fetch %s" % params.deb, done)
    return _install_local(host, apt, path)


def _install_local(host: Host, apt: AptGet, path: str) -> Plan:
    if not os.path.isfile(path):
        if host.check and host.exists(path):
            host.note("", path + "\n", "packages")
            return Plan([])
        host.fail("there is no package file %s on the host; copy it there first" % path, path=path)
    done = host.query(["dpkg-deb", "--field", path, "Package", "Version"])
    if done.rc != 0:
        host.fail("%s is no package file: %s" % (path, done.stderr.strip()), path=path)
    fields = _dpkg.parse_stanza(done.out)
    found = Database.read(host).find(fields.get("Package", ""))
    if found is not None and found.is_installed and found.version == fields.get("Version"):
        return Plan([])
    return _carry_out(apt, ["install", path])


def clean(host: Host, apt: AptGet) -> None:
    """Remove all fetched package files."""
    found = [name for folder in (ARCHIVES, ARCHIVES + "/partial") for name in _names(folder) if name.endswith(".deb")]
    if found:
        host.note("".join("%s\n" % name for name in sorted(found)), "", ARCHIVES)
        apt.change(["clean"])


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def autoclean(host: Host, apt: AptGet) -> None:
    """Remove fetched package files that no repository has any more."""
    found = host.query([apt.program, "--simulate", "autoclean"], env=ENVIRONMENT)
    lines = [line for line in found.stdout.split("\n") if line.startswith("Del ")]
    if lines:
        host.note("\n".join(lines) + "\n", "", ARCHIVES)
        apt.change(["autoclean"])
