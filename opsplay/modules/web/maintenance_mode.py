"""Show visitors a page for the time of maintenance (status 503), and let chosen addresses through to the service.

Sites that are to obey say `include snippets/opsplay-maintenance*.conf;` in their server block, which is nothing while
the mode is off. nginx tries the new configuration before it is installed, and reloads without losing a request.
"""

from __future__ import annotations

from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Choice, Int, Params, Str
from opsplay.agent.spec import List as Listing
from opsplay.modules.web import _nginx

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Maintenance</title>
<style>body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem; }</style>
<h1>We will be back soon</h1>
<p>The service is being looked after. Please try again in a few minutes.</p>
"""
PARAMS = {
    "state": Choice("on", "off", required=True, help="Whether visitors see the page"),
    "retry_after": Int(min=1, default=600, help="Seconds after which visitors shall try again"),
    "allow_from": Listing(of=Str(), default=[], help="Addresses and networks that reach the service all the same"),
    "page": Str(default=PAGE, help="The page, as HTML"),
}
CHECK = "exact"
SWITCH = _nginx.ROOT + "/conf.d/opsplay-maintenance.conf"
SNIPPET = _nginx.ROOT + "/snippets/opsplay-maintenance.conf"
FOLDER = "/var/lib/opsplay/maintenance"
INCLUDE = "include snippets/opsplay-maintenance*.conf;"
# A server answers 503 to itself, and keeps that status when the page is served in its stead.
SERVER = """error_page 503 @opsplay_maintenance;
if ($opsplay_maintenance) {
    return 503;
}
location @opsplay_maintenance {
    root %s;
    rewrite ^ /index.html break;
    add_header Retry-After %d always;
    add_header Cache-Control no-store always;
}
"""


def run(host: Host, params: Params) -> Dict[str, Any]:
    if host.which("nginx") is None:
        if host.check and host.shadow.brings_unknown_files:
            host.changed = True
            return host.outcome()
        host.fail("nginx is not on this host")
    if params.state == "off":
        gone = [host.remove(path) for path in (SWITCH, SNIPPET)]
        return host.outcome(state="off", reloaded=any(gone) and _nginx.reload(host))
    sites = obeying(host)
    if not sites:
        host.fail("no enabled site obeys; write `%s` into the server blocks that shall" % INCLUDE)
    wanted = {SWITCH: switch(host, params.allow_from), SNIPPET: SERVER % (FOLDER, params.retry_after)}
    changes = {path: ("file", text.encode()) for path, text in wanted.items()}
    with _nginx.Copy(host, changes) as copy:
        fault, _ = copy.test()
    if fault is not None:
        host.fail("nginx would refuse its configuration: %s; nothing was changed" % fault)
    host.directory(FOLDER, mode=0o755)
    host.write(FOLDER + "/index.html", params.page, mode=0o644)
    # The variable first: a snippet that names one which is not there would be refused.
    written = [host.write(path, wanted[path], mode=0o644) for path in (SWITCH, SNIPPET)]
    return host.outcome(state="on", sites=sites, reloaded=any(written) and _nginx.reload(host))


def obeying(host: Host) -> List[str]:
    """The enabled sites that include the snippet."""
    folder = _nginx.ROOT + "/sites-enabled"
    found = []
    for name in host.names(folder) if host.is_directory(folder) else []:
        path = host.real("%s/%s" % (folder, name))
        if host.exists(path) and host.knows(path) and INCLUDE.encode() in host.read(path):
            found.append(name)
    return found


def switch(host: Host, allowed: List[str]) -> str:
    """The variable that is 1 for whoever sees the page. Fails for what is no address."""
    import ipaddress

    lines = ["    default 1;\n"]
    for text in allowed:
        try:
            lines.append("    %s 0;\n" % ipaddress.ip_network(text, strict=False))
        except ValueError as problem:
            host.fail("allow_from: %s" % problem)
    return "geo $opsplay_maintenance {\n%s}\n" % "".join(lines)
