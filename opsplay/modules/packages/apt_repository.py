"""Say where apt takes packages from, by one-line sources."""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import Bool, Choice, Int, Mode, Params, Str
from opsplay.modules.packages import _lists, _ppa
from opsplay.modules.packages._aptget import AptGet
from opsplay.modules.packages._sources import Lists, Source, file_for

PARAMS = {
    "repo": Str(required=True, help="The source, e.g. deb https://deb.example.org/debian bookworm main; or ppa:…"),
    "state": Choice("present", "absent", default="present", help="Whether apt uses the source"),
    "filename": Str(help="The file in sources.list.d, without .list; one made from the address without it"),
    "mode": Mode(default=0o644, help="The permission bits of a new file"),
    "codename": Str(help="The release to use a PPA of, instead of the host's own"),
    "update_cache": Bool(default=True, aliases=("update-cache",), help="Fetch the package lists after a change"),
    "update_cache_retries": Int(min=0, default=5, help="How often fetching the lists is tried again"),
    "update_cache_retry_max_delay": Int(min=0, default=12, help="The longest pause between these attempts, in seconds"),
    "validate_certs": Bool(default=True, help="Believe the servers of a PPA only with a certificate that is valid"),
    "install_python_apt": Bool(default=True, help="Accepted for Ansible's sake: nothing has to be installed"),
}
CHECK = "exact"
LOCK_TIMEOUT = 60


def run(host: Host, params: Params) -> Dict[str, Any]:
    is_ppa = params.repo.startswith("ppa:")
    text = _ppa.source_of(host, params.repo, params.codename or "") if is_ppa else params.repo
    source = Source.parse(text)
    if source is None or not source.is_enabled:
        hint = "a source has a type (deb, deb-src), an address, a suite, and components unless the suite ends with /"
        host.fail("Invalid repository string: %s; %s" % (params.repo, hint), repo=params.repo)
    lists = Lists(host)
    if params.state == "present":
        lists.add(source, file_for(source, params.filename))
    else:
        lists.remove(source)
    if lists.files != lists.before:
        if is_ppa and params.state == "present":
            _ppa.trust(host, params.repo, params.validate_certs)
        lists.save(params.mode)
        if params.update_cache:
            fetch(host, params, lists)
    return host.outcome(
        repo=params.repo, state=params.state, sources_added=lists.added(), sources_removed=lists.removed()
    )


def fetch(host: Host, params: Params, lists: Lists) -> None:
    """Fetch the package lists; sources that cannot be fetched are taken back."""
    asked = Params(params, update_cache=True, cache_valid_time=0, lock_timeout=LOCK_TIMEOUT)
    try:
        _lists.refresh(host, asked, AptGet(host, asked))
    except ModuleFailed:
        lists.restore()
        raise
