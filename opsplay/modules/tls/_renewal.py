"""What certbot keeps of a certificate: its files, and the settings by which it renews it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from opsplay.agent.host import Host
from opsplay.agent.shadow import Node
from opsplay.modules.tls import _openssl
from opsplay.modules.tls._x509 import Certificate, certificates_in

CONFIG = "/etc/letsencrypt"
SETTINGS = "renewalparams"
WEBROOTS = "webroot_map"
# Settings that belong to one way of proving a domain, and go when another is chosen.
OF_A_CHALLENGE = ("http01_port", "manual_auth_hook", "manual_cleanup_hook", "pref_challs", "webroot_path")
BEFORE = "renew_before_expiry"


class Lineage:
    """A certificate under its name in /etc/letsencrypt, with all that certbot knows of it."""

    __slots__ = ("host", "name", "folder", "path", "text", "certificate", "problem", "is_pretended")

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name
        self.folder = "%s/live/%s" % (CONFIG, name)
        self.path = "%s/renewal/%s.conf" % (CONFIG, name)
        self.text: Optional[str] = None
        self.certificate: Optional[Certificate] = None
        self.problem = ""
        self.look()

    def file(self, name: str) -> str:
        """The path of fullchain, privkey, chain or cert."""
        return "%s/%s.pem" % (self.folder, name)

    def look(self) -> None:
        """Read its files. What is damaged is a problem, not an error."""
        self.certificate, self.problem = None, ""
        self.is_pretended = self.host.check and not self.host.knows(self.file("fullchain"))
        if self.is_pretended:
            return
        try:
            self.text = self.host.read(self.path).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            self.text = None
            self.problem = "there is none"
            return
        try:
            found = certificates_in(self.host.read(self.file("fullchain")).decode("latin-1"))
            self.certificate = found[0]
            if _openssl.public_key(self.host, self.host.read(self.file("privkey"))) != found[0].key:
                self.problem = "its key belongs to another certificate"
        except OSError as problem:
            self.problem = "%s is missing" % (problem.filename or self.folder)
        except IndexError:
            self.problem = "%s holds no certificate" % self.file("fullchain")
        except ValueError as problem:
            self.problem = str(problem)

    def pretend(self) -> None:
        """In a preview: let later tasks see files of which only the real run knows the content."""
        for folder in (CONFIG, CONFIG + "/live", self.folder):
            if not self.host.is_directory(folder):
                self.host.pretend(folder, Node("directory", 0o755))
        for name, mode in (("fullchain", 0o644), ("chain", 0o644), ("cert", 0o644), ("privkey", 0o600)):
            self.host.pretend_unknown(self.host.real(self.file(name)), mode)

    @property
    def exists(self) -> bool:
        return self.text is not None

    @property
    def server(self) -> str:
        """The address of the CA that it is from."""
        return parse(self.text or "").get(SETTINGS, {}).get("server", "")

    def described(self) -> Dict[str, Any]:
        found = {name: self.file(file) for name, file in (
            ("certificate", "fullchain"), ("key", "privkey"), ("chain", "chain"), ("cert", "cert"))}  # fmt: skip
        if self.certificate is not None:
            found.update(self.certificate.described())
        return found


def parse(text: str) -> Dict[str, Dict[str, str]]:
    """The values of each section, "" for those before the first."""
    found: Dict[str, Dict[str, str]] = {"": {}}
    section = ""
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped.strip("[]").strip()
            found.setdefault(section, {})
        elif "=" in stripped and not stripped.startswith("#"):
            key, _, value = stripped.partition("=")
            found[section][key.strip()] = unquoted(value.strip())
    return found


def unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def quoted(value: str) -> str:
    """A value as certbot's configuration files take it. Raises ValueError for what they cannot hold."""
    is_plain = value == value.strip() and not set(value) & set("#'\"") and (value[-1:] == "," or "," not in value)
    if is_plain and value:
        return value
    for mark in ('"', "'"):
        if mark not in value:
            return mark + value + mark
    raise ValueError("it holds both kinds of quotation marks")


def edited(text: str, settings: Dict[str, str], webroots: Dict[str, str], days: int) -> str:
    """The text with these settings, and without those of other challenges; other lines are left as they are.

    `days` is how long before its end certbot renews it by itself. Raises ValueError.
    """
    now = parse(text)
    current = now.get(SETTINGS, {})
    unwanted = [key for key in OF_A_CHALLENGE if key in current and key not in settings]
    is_so = not unwanted and all(current.get(key) == value for key, value in settings.items())
    if is_so and now.get(WEBROOTS, {}) == webroots:
        return with_days(text, now, days)
    lines = sections(text)
    replaced = set(settings) | set(unwanted)
    kept = [line for line in lines[SETTINGS] if line.strip() and line.partition("=")[0].strip() not in replaced]
    parts = list(lines[""]) + ["[%s]" % SETTINGS] + kept
    parts += ["%s = %s" % (key, quoted(value)) for key, value in settings.items()]
    for name in lines:
        if name not in ("", SETTINGS, WEBROOTS):
            parts += ["[[%s]]" % name] + lines[name]
    if webroots:
        parts += ["[[%s]]" % WEBROOTS] + ["%s = %s" % (name, quoted(path)) for name, path in webroots.items()]
    made = "\n".join(parts).rstrip("\n") + "\n"
    return with_days(made, parse(made), days)


def sections(text: str) -> Dict[str, List[str]]:
    """The lines of each section."""
    found: Dict[str, List[str]] = {"": [], SETTINGS: []}
    section = ""
    for line in text.split("\n"):
        if line.strip().startswith("["):
            section = line.strip().strip("[]").strip()
            found.setdefault(section, [])
        else:
            found[section].append(line)
    return found


def with_days(text: str, now: Dict[str, Dict[str, str]], days: int) -> str:
    """The text with the time of certbot's own renewal. 30 days are its default where nothing is said."""
    value = "%d days" % days
    if now[""].get(BEFORE, "30 days") == value:
        return text
    lines = [line for line in text.split("\n") if not is_about(line, BEFORE)]
    return "\n".join(["%s = %s" % (BEFORE, value)] + lines)


def is_about(line: str, key: str) -> bool:
    return line.lstrip("# ").partition("=")[0].strip() == key and "=" in line


def names_of(certificate: Certificate, domains: List[str]) -> Tuple[List[str], List[str]]:
    """The domains that it lacks, and those that it has too many."""
    has, wants = set(certificate.names), set(domains)
    return sorted(wants - has), sorted(has - wants)
