"""Obtain certificates from a CA with certbot, and renew them in time.

A certificate that is for just these domains, from this CA, and not about to expire, stays without the CA being asked.
When the CA fails, the certificate that is there goes on being used, and the task fails with the reason.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Name, Params, Path, Str
from opsplay.agent.spec import List as ListOf
from opsplay.modules.tls import _automatic, _certbot, _renewal
from opsplay.modules.tls._issuing import is_name
from opsplay.modules.tls._verdict import address, ascii_name, counted
from opsplay.modules.tls._x509 import iso

PARAMS = {
    "domains": ListOf(of=Str(), required=True, help="The domains; the first names the certificate"),
    "cert_name": Name(help="certbot's name for the certificate. Default: the first domain"),
    "server": Str(default="letsencrypt", help="The CA: letsencrypt, letsencrypt-staging, or its ACME directory's URL"),
    "ca_file": Path(help="The certificates of the CA that the CA's own server is trusted by, in place of this host's"),
    "staging": Bool(default=False, help="The CA is Let's Encrypt's for trials"),
    "dry_run": Bool(default=False, help="Try it with the CA and keep nothing"),
    "email": Str(help="Where the CA may write to. Default: nowhere"),
    "challenge": Choice(
        "webroot", "standalone", "dns", "nginx", default="webroot",
        help="How the domains are proven: by a file in webroot, a server that certbot starts, DNS records that hooks "
        "make, or nginx, whose configuration certbot changes for a moment",
    ),
    "webroot": Path(help="The folder that is served under http://DOMAIN/"),
    "http_port": Int(min=1, max=65535, help="The port where certbot's own server listens; the CA asks on port 80"),
    "auth_hook": Str(help="A command that makes the DNS record: CERTBOT_DOMAIN and CERTBOT_VALIDATION say which"),
    "cleanup_hook": Str(help="A command that takes it away again"),
    "key_type": Choice("ecdsa", "rsa", help="The kind of key. Default: certbot's own"),
    "renew_before": Int(min=1, default=30, help="How many days before its end it is renewed"),
    "force": Bool(default=False, help="Obtain a new one whatever is there"),
    "deploy_hook": Str(help="A command that certbot runs when it has a new certificate, now and later"),
    "reload": Choice(
        "none", "nginx", default="none",
        help="What reads the new certificate, now and after certbot's own renewals; nginx only if it accepts its files",
    ),
    "timer": Bool(default=True, help="Let certbot.timer renew it, too"),
    "preferred_chain": Str(help="The common name of the root that the chain leads to, where the CA offers several"),
    "must_staple": Bool(default=False, help="Ask for a certificate that is only valid with a stapled OCSP answer"),
    "timeout": Int(min=10, default=300, help="Seconds that certbot may take"),
}  # fmt: skip
CHECK = "exact"
SERVERS = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
# What the CA gives cannot be foreseen.
ISSUED = ("serial", "not_before", "not_after", "days_left", "fingerprint", "issuer", "san", "subject")


def run(host: Host, params: Params) -> Dict[str, Any]:
    plan = planned(host, params)
    require(host, params, plan)
    with host.lock("certbot_renew", wait=_certbot.BUSY_SECONDS):
        lineage = _renewal.Lineage(host, plan["name"])
        reason = why(params, plan, lineage)
        result: Dict[str, Any] = {"cert_name": plan["name"], "server": plan["server"], "reason": reason}
        if params.dry_run:
            result["dry_run"] = trial(host, params, plan)
            return host.outcome(reissued=False, **dict(result, **lineage.described()))
        if params.reload == "nginx":
            _automatic.hook(host)
        if params.timer:
            _automatic.timer(host, params.ca_file)
        if reason:
            obtain(host, params, plan, lineage, reason)
        settle(host, plan, params, lineage, bool(reason))
        if params.reload == "nginx":
            reload(host, lineage, bool(reason))
        if host.check and (reason or lineage.is_pretended):
            host.unknown(*ISSUED)
            paths = {key: value for key, value in lineage.described().items() if key not in ISSUED}
            return host.outcome(reissued=True, **dict(result, **paths))
        return host.outcome(reissued=bool(reason), **dict(result, **lineage.described()))


# --- what is asked for ---


def planned(host: Host, params: Params) -> Dict[str, Any]:
    """Names, server, and the words for certbot. Fails for what cannot be, before anything is looked at."""
    domains: List[str] = []
    for given in params.domains:
        domain = ascii_name(given)
        if address(domain) or not is_name(domain) or "." not in domain:
            host.fail("domains: %r is no domain that a CA could prove" % given)
        if domain.startswith("*.") and params.challenge != "dns":
            host.fail("domains: %s needs challenge: dns; CAs prove wildcards in no other way" % domain)
        if domain not in domains:
            domains.append(domain)
    if not domains:
        host.fail("domains is empty: for which names shall the certificate be?")
    server = SERVERS.get(params.server, params.server)
    if params.staging and params.server == "letsencrypt":
        server = SERVERS["letsencrypt-staging"]
    elif params.staging and server != SERVERS["letsencrypt-staging"]:
        host.fail("staging is Let's Encrypt's; leave it out with server %s" % params.server)
    if not server.startswith("https://") or any(char.isspace() for char in server):
        known = ", ".join(sorted(SERVERS))
        host.fail("server %r is none of %s and no URL that begins with https://" % (params.server, known))
    name = params.cert_name or domains[0].replace("*.", "", 1)
    plan = {"name": name, "domains": domains, "server": server}
    plan["settings"], plan["webroots"] = challenge(host, params, domains)
    plan["settings"]["server"] = server
    if params.deploy_hook:
        plan["settings"]["renew_hook"] = params.deploy_hook
    return plan


def challenge(host: Host, params: Params, domains: List[str]) -> Any:
    """How certbot proves the domains: its settings, and the folder for each domain."""
    belongs = {"webroot": "webroot", "http_port": "standalone", "auth_hook": "dns", "cleanup_hook": "dns"}
    for key, kind in belongs.items():
        if params[key] is not None and params.challenge != kind:
            host.fail("%s is for challenge: %s, and this is %s" % (key, kind, params.challenge))
    for key in ("auth_hook", "cleanup_hook", "deploy_hook", "email", "preferred_chain"):
        if "\n" in (params[key] or ""):
            host.fail("%s must be one line" % key)
    if params.challenge == "webroot":
        if params.webroot is None:
            host.fail("challenge: webroot needs webroot, the folder that is served under http://%s/" % domains[0])
        path = host.expand(params.webroot)
        return {"authenticator": "webroot", "webroot_path": path + ","}, dict.fromkeys(domains, path)
    if params.challenge == "dns":
        if params.auth_hook is None:
            host.fail("challenge: dns needs auth_hook, a command that makes the DNS record")
        found = {"authenticator": "manual", "pref_challs": "dns-01,", "manual_auth_hook": params.auth_hook}
        if params.cleanup_hook:
            found["manual_cleanup_hook"] = params.cleanup_hook
        return found, {}
    found = {"authenticator": params.challenge}
    if params.http_port:
        found["http01_port"] = str(params.http_port)
    return found, {}


def require(host: Host, params: Params, plan: Dict[str, Any]) -> None:
    """What must be on the host; in a preview an earlier task may bring it."""
    if host.check and host.shadow.brings_unknown_files:
        return
    if host.which("certbot") is None:
        host.fail("certbot is not on this host; install the package certbot first")
    if params.reload == "nginx" and host.which("nginx") is None:
        host.fail("nginx is not on this host, so it cannot be reloaded; install it first, or leave reload out")
    for path in set(plan["webroots"].values()):
        if not host.is_directory(path):
            host.fail("the webroot %s is no folder; make it, and let the web server serve it" % path, path=path)


def why(params: Params, plan: Dict[str, Any], lineage: Any) -> str:
    """Why there is to be a new certificate; empty when the one that is there is fine."""
    if lineage.problem:
        return str(lineage.problem)
    if params.force:
        return "forced"
    if lineage.is_pretended:
        # An earlier task of this preview would obtain it.
        return ""
    found = lineage.certificate
    lacks, extra = _renewal.names_of(found, plan["domains"])
    if lacks:
        return "it is not for %s" % ", ".join(lacks)
    if extra:
        return "it is also for %s" % ", ".join(extra)
    if lineage.server != plan["server"]:
        return "it is from %s" % lineage.server
    now = time.time()
    if now > found.not_after:
        return "it expired on %s" % iso(found.not_after)
    # A certificate that lasts a few days only is not renewed on each of them.
    before = min(params.renew_before * 86400, (found.not_after - found.not_before) * 2 // 3)
    if found.not_after - now < before:
        return "it expires in %s, on %s" % (counted(found.days_left()), iso(found.not_after))
    if params.key_type and params.key_type != found.key_type:
        return "its key is %s" % found.key_type
    if params.must_staple and not found.must_staple:
        return "it does not ask for a stapled answer"
    return ""


# --- what is done ---


def words_for(host: Host, params: Params, plan: Dict[str, Any]) -> List[str]:
    """certbot's command line."""
    settings = plan["settings"]
    words = ["certonly", "--cert-name", plan["name"], "--server", plan["server"], "-a", settings["authenticator"]]
    for domain in plan["domains"]:
        words += ["-d", domain]
    words += ["--email", params.email] if params.email else ["--register-unsafely-without-email"]
    options = (
        ("--webroot-path", host.expand(params.webroot) if params.webroot else None),
        ("--http-01-port", params.http_port), ("--manual-auth-hook", params.auth_hook),
        ("--manual-cleanup-hook", params.cleanup_hook), ("--key-type", params.key_type),
        ("--preferred-chain", params.preferred_chain), ("--deploy-hook", params.deploy_hook),
    )  # fmt: skip
    for option, value in options:
        if value is not None:
            words += [option, str(value)]
    if params.challenge == "dns":
        words += ["--preferred-challenges", "dns"]
    return words + (["--must-staple"] if params.must_staple else [])


def environment(host: Host, params: Params) -> Dict[str, str]:
    if not params.ca_file:
        return {}
    path = host.expand(params.ca_file)
    if not host.exists(path):
        host.fail("there is no ca_file %s" % path, path=path)
    return {"REQUESTS_CA_BUNDLE": path}


def trial(host: Host, params: Params, plan: Dict[str, Any]) -> str:
    """Let the CA prove the domains, and keep nothing. A preview contacts nobody."""
    if host.check:
        return "not tried in a preview"
    words = words_for(host, params, plan) + ["--dry-run"]
    done, problem = _certbot.run(host, words, environment(host, params), params.timeout, changes=False)
    if problem:
        host.fail("the trial failed: %s" % problem, rc=done.rc, stdout=done.stdout, stderr=done.stderr)
    return "ok"


def obtain(host: Host, params: Params, plan: Dict[str, Any], lineage: Any, reason: str) -> None:
    """Have a new certificate issued. What is there stays in use until certbot has the new one, and if it fails."""
    found = lineage.certificate
    before = "" if found is None else "names %s\nfrom %s\n" % (", ".join(sorted(found.names)), lineage.server)
    after = "names %s\nfrom %s\n" % (", ".join(sorted(plan["domains"])), plan["server"])
    host.note(before, after if after != before else after + "a new one: %s\n" % reason, lineage.file("fullchain"))
    if host.check:
        lineage.pretend()
        return
    words = words_for(host, params, plan) + (["--force-renewal", "--renew-with-new-domains"] if lineage.exists else [])
    done, problem = _certbot.run(host, words, environment(host, params), params.timeout)
    if problem:
        host.fail("%s. %s" % (problem, what_stays(found)), rc=done.rc, stdout=done.stdout, stderr=done.stderr)
    lineage.look()
    if lineage.problem or _renewal.names_of(lineage.certificate, plan["domains"])[0]:
        said = "certbot ended well, but %s is not what was asked for: %s"
        host.fail(said % (lineage.file("fullchain"), lineage.problem or "it is for other names"), stdout=done.stdout)
    hook = _certbot.failed_hook(done.stdout + "\n" + done.stderr)
    if hook:
        host.fail("the new certificate is there, but a deploy hook failed with %s" % hook, stdout=done.stdout)


def what_stays(found: Any) -> str:
    if found is None:
        return "There is no certificate of this name yet."
    if found.not_after < time.time():
        return "The old certificate stays, but it expired on %s." % iso(found.not_after)
    left = counted(found.days_left())
    return "The certificate that is there goes on being used: it is valid until %s, for %s." % (
        iso(found.not_after),
        left,
    )


def settle(host: Host, plan: Dict[str, Any], params: Params, lineage: Any, reissued: bool) -> None:
    """Let certbot's own renewals use the same settings. What belongs to a new certificate is no further difference."""
    if lineage.text is None:
        return
    try:
        text = _renewal.edited(lineage.text, plan["settings"], plan["webroots"], params.renew_before)
    except ValueError as problem:
        host.fail("certbot's settings in %s cannot be changed: %s" % (lineage.path, problem))
    if reissued and host.check:
        return
    shows, host.want_diff = host.want_diff, host.want_diff and not reissued
    try:
        host.write(lineage.path, text)
    finally:
        host.want_diff = shows


def reload(host: Host, lineage: Any, reissued: bool) -> None:
    """Let nginx serve what is there; also when an earlier run, or certbot's own renewal, could not reload it."""
    host.call("web._reload", file=lineage.file("fullchain"), force=reissued)
