"""Install, upgrade and remove packages with apt."""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import Bool, Choice, Int, Params, Path, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.packages import _actions, _lists
from opsplay.modules.packages._aptget import AptGet

PARAMS = {
    "name": ListOf(
        of=Str(),
        aliases=("package", "pkg"),
        help="The packages: foo, foo=1.0, foo=1.0*, foo>=1.0, foo/bookworm-backports, foo* or foo:arm64",
    ),
    "state": Choice(
        "absent", "build-dep", "fixed", "latest", "present", default="present",
        help="build-dep installs what building a package needs; fixed ends interrupted work and repairs dependencies",
    ),
    "update_cache": Bool(aliases=("update-cache",), help="Fetch the package lists first"),
    "update_cache_retries": Int(min=0, default=5, help="How often fetching the lists is tried again"),
    "update_cache_retry_max_delay": Int(min=0, default=12, help="The longest pause between these attempts, in seconds"),
    "cache_valid_time": Int(min=0, default=0, help="Fetch the lists when they are older than this, in seconds"),
    "purge": Bool(default=False, help="Remove the configuration of removed packages too"),
    "default_release": Str(aliases=("default-release",), help="The release that packages are taken from"),
    "install_recommends": Bool(
        aliases=("install-recommends",), help="Whether recommended packages come too; without it, apt's own setting"
    ),
    "force": Bool(
        default=False, help="Allow unauthenticated packages, downgrades, and changes of held or essential packages"
    ),
    "clean": Bool(default=False, help="Remove all package files that were fetched"),
    "allow_unauthenticated": Bool(
        default=False, aliases=("allow-unauthenticated",), help="Install packages whose origin is not proven"
    ),
    "allow_downgrade": Bool(
        default=False,
        aliases=("allow-downgrade", "allow_downgrades", "allow-downgrades"),
        help="Let an older version replace a newer one",
    ),
    "allow_change_held_packages": Bool(default=False, help="Change packages that are held"),
    "upgrade": Choice(
        "dist", "full", "no", "safe", "yes", default="no",
        help="Upgrade all packages: yes and safe remove none, dist and full do where that is needed",
    ),
    "dpkg_options": Str(default="force-confdef,force-confold", help="Options for dpkg, separated by commas"),
    "deb": Path(help="A package file on the host, or the address of one"),
    "autoremove": Bool(default=False, help="Remove packages that were only installed for others that are gone"),
    "autoclean": Bool(default=False, help="Remove fetched package files that no repository has any more"),
    "policy_rc_d": Int(min=0, max=255, help="What policy-rc.d answers meanwhile; with 101 packages start no service"),
    "only_upgrade": Bool(default=False, help="Change packages that are installed, and install none"),
    "fail_on_autoremove": Bool(default=False, help="Fail when packages would be removed"),
    "force_apt_get": Bool(default=False, help="Accepted for Ansible's sake: aptitude is never used"),
    "auto_install_module_deps": Bool(default=True, help="Accepted for Ansible's sake: nothing has to be installed"),
    "lock_timeout": Int(min=0, default=60, help="How long to wait for a program that holds apt's locks, in seconds"),
}  # fmt: skip
CHECK = "partial"


def run(host: Host, params: Params) -> Dict[str, Any]:
    names = [name for name in params.name or [] if name]
    _refuse(host, params, names)
    apt = AptGet(host, params)
    result = _lists.refresh(host, params, apt)
    lists_changed = result.pop("lists_changed", result["cache_updated"])
    alone = True
    if params.clean:
        _actions.clean(host, apt)
        alone = False
    if params.autoclean:
        _actions.autoclean(host, apt)
        alone = False
    try:
        plan = _act(host, params, apt, names)
    except ModuleFailed as problem:
        problem.result = dict(result, **problem.result)
        raise
    if plan is not None:
        result.update(packages=plan.describe())
        alone = False
    if apt.output or apt.errors or params.deb:
        result.update(stdout=apt.output, stderr=apt.errors)
    # The lists count as a change only where they were the task's one purpose, as in Ansible.
    if alone and result["cache_updated"]:
        host.changed = host.changed or lists_changed
    return host.outcome(**result)


def _act(host: Host, params: Params, apt: AptGet, names: List[str]) -> Any:
    """The plan that was carried out, None when packages were not the task's matter."""
    if params.upgrade != "no" or (names == ["*"] and params.state == "latest"):
        return _actions.upgrade(apt, "dist" if params.upgrade == "no" else params.upgrade)
    if params.deb:
        return _actions.install_file(host, params, apt)
    if params.state == "fixed":
        return _actions.repair(host, apt)
    if names and params.state == "build-dep":
        return _actions.build_dependencies(host, apt, names)
    if names and params.state == "absent":
        return _actions.remove(host, params, apt, names)
    if names:
        return _actions.install(host, params, apt, names)
    return _actions.autoremove(apt) if params.autoremove else None


def _refuse(host: Host, params: Params, names: List[str]) -> None:
    given = [key for key, value in (("name", names), ("upgrade", params.upgrade != "no"), ("deb", params.deb)) if value]
    if len(given) > 1:
        host.fail("%s and %s cannot be given together: make them two tasks" % (given[0], given[1]))
    asked = (params.update_cache, params.cache_valid_time, params.autoremove, params.autoclean, params.clean)
    if not given and not any(asked) and params.state != "fixed" and params.name is None:
        host.fail("nothing is asked for: give name, deb, upgrade, update_cache, autoremove, autoclean or clean")
    if "*" in names and (names != ["*"] or params.state != "latest"):
        host.fail("the name * is for state: latest alone, and upgrades all packages")
