"""certbot: run so that it can never ask, and what it says in a few words, with what to do."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List

from opsplay.agent.host import Host

# How long (s) another certbot, such as the timer's, is waited for.
BUSY_SECONDS = 120
BUSY = "Another instance of Certbot is already running"
LOG = "/var/log/letsencrypt/letsencrypt.log"
LOG_MOST = 4 << 20
# What certbot says besides what went wrong.
CHATTER = ("Saving debug log", "Plugins selected", "Ask for help", "Some challenges have failed", "Requesting a cert",
           "Renewing an existing", "Simulating", "Performing the following", "Waiting for verification", "Cleaning up",
           "An unexpected error occurred", "IMPORTANT NOTES", "- The following errors", "- - - -", "Account registered",
           "To fix these errors", "Please see the log", "See the logfile")  # fmt: skip
HINTS = (
    ("already in use by another process", "another server has that port: use challenge webroot or nginx, or http_port"),
    ("plugin does not appear to be installed", "install the package python3-certbot-nginx"),
    ("rateLimited", "the CA allows no more for now: wait, and use staging for trials"),
    ("too many certificates", "the CA allows no more for now: wait, and use staging for trials"),
    ("CERTIFICATE_VERIFY_FAILED", "the CA's own server is not trusted: name its CA in ca_file"),
    ("Connection refused", "the CA's server does not answer: check `server` and the way there, and run again"),
    ("No route to host", "the CA's server is out of reach: check the network, and run again"),
    ("timed out", "the CA's server does not answer in time: check the network, and run again"),
    ("Name or service not known", "the CA's server has no address: check `server` and this host's DNS"),
    ("Failed to resolve", "the CA's server has no address: check `server` and this host's DNS"),
    ("name resolution", "the CA's server has no address: check `server` and this host's DNS"),
    ("accountDoesNotExist", "the CA has forgotten this host's account: remove it below /etc/letsencrypt/accounts"),
    ("live directory exists", "that folder is not certbot's: move it away, or give another cert_name"),
    ("rejectedIdentifier", "this CA does not issue for that name"),
)
# What the CA says of a domain, by the type of the error (RFC 8555, 6.7).
ABOUT_DOMAINS = {
    "connection": "port 80 of %s must lead to this host from where the CA is: check its DNS record and the firewall",
    "dns": "the CA finds no record of %s: check its DNS",
    "unauthorized": "what is served for %s is not what certbot has put there: check where its name leads, and webroot",
    "caa": "a CAA record of %s forbids this CA",
    "rejectedIdentifier": "this CA does not issue for %s",
}


def run(host: Host, words: List[str], environment: Dict[str, str], seconds: int, changes: bool = True) -> Any:
    """Run certbot to its end; when another one runs, wait for that first. `changes` is false for trials.

    Returns how it ended, and why it failed: empty when it did not.
    """
    argv = [str(host.which("certbot"))] + words + ["--non-interactive", "--agree-tos"]
    options: Dict[str, Any] = {"env": dict(environment, LC_ALL="C.UTF-8"), "timeout": seconds}
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        start = os.path.getsize(LOG) if os.path.exists(LOG) else 0
        done = host.run(argv, foreseen=True, **options) if changes else host.query(argv, **options)
        if BUSY not in done.stdout + done.stderr or time.monotonic() > deadline:
            return done, "" if done.rc == 0 else explained(done, seconds, logged(start))
        host.progress("waiting for another certbot to end")
        time.sleep(1)


def logged(start: int) -> str:
    """What certbot has added to its log, which it may have begun anew."""
    try:
        with open(LOG, encoding="utf-8", errors="replace") as file:
            file.seek(start if os.path.getsize(LOG) >= start else 0)
            return file.read(LOG_MOST)
    except OSError:
        return ""


def explained(done: Any, seconds: int, log: str = "") -> str:
    """Why certbot failed, and what to do."""
    text = done.stdout + "\n" + done.stderr
    if done.timed_out:
        return "certbot has not ended within %d s; its log is %s" % (seconds, LOG)
    if BUSY in text:
        return "another certbot runs on this host and has not ended within %d s" % BUSY_SECONDS
    problems = about_domains(text)
    if problems:
        hints = []
        for domain, kind, _ in problems:
            hint = ABOUT_DOMAINS.get(kind, "")
            hints.append(hint % domain if hint else "")
        said = "; ".join("%s: %s: %s" % problem for problem in problems)
        return "the CA refuses %s" % said + "".join("; " + hint for hint in dict.fromkeys(hints) if hint)
    words = answer_of_the_ca(log) or sentence(text) or "it ended with exit code %d" % done.rc
    hint = next((hint for part, hint in HINTS if part.lower() in (words + text).lower()), "its log is %s" % LOG)
    return "certbot failed: %s; %s" % (words, hint)


def answer_of_the_ca(log: str) -> str:
    """The error that the CA has answered with. Debian 12's certbot stumbles over it, and only its log has it."""
    import re

    found = re.findall(r"^acme\.messages\.Error: urn:ietf:params:acme:error:(\w+) :: (.+)$", log, re.MULTILINE)
    return "the CA answers %s: %s" % (found[-1][0], found[-1][1].split(" :: ")[-1]) if found else ""


def about_domains(text: str) -> List[Any]:
    """The (domain, type, detail) that the CA complains of. A detail may go over several lines."""
    found: List[List[str]] = []
    detailed = False
    for line in text.split("\n"):
        key, colon, value = line.strip().partition(":")
        if colon and key == "Domain":
            found.append([value.strip(), "", ""])
        elif found and colon and key in ("Type", "Detail"):
            found[-1][1 if key == "Type" else 2] = value.strip()
            detailed = key == "Detail"
            continue
        elif found and detailed and line.strip() and not line.strip().startswith(("Hint:", "To fix")):
            found[-1][2] += " " + line.strip()
            continue
        detailed = False
    return [tuple(problem) for problem in found]


def sentence(text: str) -> str:
    """The line that says what went wrong, without the names of Python's exceptions."""
    import re

    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line and not line.startswith(CHATTER)]
    words = lines[-1] if lines else ""
    caused = re.search(r"\(Caused by \w+\((.*?)\)+$", words)
    words = re.sub(r"^[\w.]+(?:Error|Exception|Timeout)?: ", "", words) if re.match(r"^[\w.]+: ", words) else words
    return (caused.group(1) if caused else words)[:400]


def failed_hook(text: str) -> str:
    """What a deploy hook that failed has said; empty when none did. certbot itself counts that as success."""
    import re

    kind = "(?:deploy|renew)-hook"
    found = re.search(r"(?:Hook '%s' reported|%s command \".*\" returned) error code (\d+)" % (kind, kind), text)
    if not found:
        return ""
    said = re.search(r"(?:ran with error output|Error output from [^\n]*):\n((?: .*\n?)+|.*)", text)
    words = " ".join(said.group(1).split()) if said else ""
    return "exit code %s%s" % (found.group(1), ": " + words[:300] if words else "")
