"""Set rules for passwords: their age, strength and history, and the locking of accounts after failed logins.

Only what is given is set. PAM is changed by profiles of its own and pam-auth-update; root is never locked unless that
is asked for. A setting with which logins would not work any more is not left behind.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.spec import Bool, Choice, Int, Name, Params, Str
from opsplay.agent.spec import Dict as DictOf
from opsplay.agent.spec import List as ListOf
from opsplay.modules.hardening import _pam
from opsplay.modules.hardening._settings import edited, read_text, setting, without

PARAMS = {
    "max_days": Int(min=1, help="After how many days a new account's password must be changed (PASS_MAX_DAYS)"),
    "min_days": Int(min=0, help="How many days a new account's password cannot be changed again (PASS_MIN_DAYS)"),
    "warn_days": Int(min=0, help="How many days before its end a user is warned (PASS_WARN_AGE)"),
    "apply_to": ListOf(of=Name(), help="Accounts that are there already and get max_days, min_days and warn_days, too"),
    "umask": Str(help='The permissions that new homes and logins leave out, e.g. "027" (UMASK)'),
    "encrypt_method": Choice("SHA256", "SHA512", "YESCRYPT", help="How tools other than PAM's passwd hash passwords"),
    "rounds": Int(help="The cost of hashing: 5000 to 999999999 rounds for SHA, 1 to 11 for YESCRYPT"),
    "login_defs": DictOf(of=Str(), default={}, help="More settings of login.defs(5)"),
    "minlen": Int(min=6, max=128, help="The least length of a new password"),
    "minclass": Int(min=0, max=4, help="How many kinds of signs it must have: digits, capitals, small letters, others"),
    "dcredit": Int(min=-16, max=16, help="Digits: below 0 it must have so many, above 0 they count as length"),
    "ucredit": Int(min=-16, max=16, help="Capital letters, likewise"),
    "lcredit": Int(min=-16, max=16, help="Small letters, likewise"),
    "ocredit": Int(min=-16, max=16, help="Other signs, likewise"),
    "difok": Int(min=0, max=128, help="How many signs must not be in the old password"),
    "maxrepeat": Int(min=0, max=128, help="How often one sign may stand in a row; 0 is no limit"),
    "maxclassrepeat": Int(min=0, max=128, help="How many signs of one kind may stand in a row; 0 is no limit"),
    "maxsequence": Int(min=0, max=128, help="How long a sequence such as 12345 may be; 0 is no limit"),
    "dictcheck": Bool(help="Refuse what is like a word of a dictionary"),
    "usercheck": Bool(help="Refuse what holds the user's name"),
    "enforce_for_root": Bool(help="Refuse weak passwords that root sets, too, instead of only saying so"),
    "remember": Int(min=0, max=400, help="How many old passwords cannot be used again; 0 takes this rule away"),
    "deny": Int(min=0, help="After how many failed logins an account is locked, at least 3; 0 takes this rule away"),
    "unlock_time": Int(min=1, max=604800, help="After how many seconds it is unlocked by itself"),
    "fail_interval": Int(min=1, max=604800, help="Within how many seconds the failed logins count"),
    "deny_root": Bool(help="Lock root as well, for unlock_time"),
}
CHECK = "exact"
LOGIN_DEFS, FAILLOCK_CONF = "/etc/login.defs", "/etc/security/faillock.conf"
QUALITY, QUALITY_FOLDER = "/etc/security/pwquality.conf", "/etc/security/pwquality.conf.d"
OWN_QUALITY = QUALITY_FOLDER + "/50-opsplay.conf"
DICTIONARY = "/var/cache/cracklib/cracklib_dict.pwd"
QUALITY_KEYS = ("minlen", "minclass", "dcredit", "ucredit", "lcredit", "ocredit", "difok", "maxrepeat",
                "maxclassrepeat", "maxsequence", "dictcheck", "usercheck", "enforce_for_root")  # fmt: skip
DAY = 86400


def run(host: Host, params: Params) -> Dict[str, Any]:
    if all(value in (None, [], {}) for value in params.values()):
        host.fail("nothing is asked for: give rules such as max_days, minlen, remember or deny")
    defs = login_settings(host, params)
    quality = {key: quality_text(params[key]) for key in QUALITY_KEYS if params[key] is not None}
    refuse_locking_out(host, params)
    ages = {name: age_options(host, params, name) for name in params.apply_to or ()}
    if quality:
        refuse_without_pwquality(host, quality)
    for key, module in (("remember", "pam_pwhistory.so"), ("deny", "pam_faillock.so")):
        if params[key] and not _pam.has_module(host, module):
            host.fail("%s needs %s, which this release of PAM does not have" % (key, module))
    if defs:
        host.write(LOGIN_DEFS, edited(read_text(host, LOGIN_DEFS), defs, "%s\t%s"), mode=existing(host, LOGIN_DEFS))
    if quality:
        write_quality(host, quality)
    settle_locking(host, params)
    for name, options in ages.items():
        set_ages(host, name, options)
    return host.outcome()


def existing(host: Host, path: str) -> Optional[int]:
    """The mode for a file that is not there yet; None leaves one that is."""
    return None if host.exists(path) else 0o644


# --- /etc/login.defs ---


def login_settings(host: Host, params: Params) -> Dict[str, Optional[str]]:
    """The settings of login.defs. Fails for values that its tools would not understand."""
    found: Dict[str, Optional[str]] = {}
    for key, value in params.login_defs.items():
        if not key or set(key) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") or set(value) & set("\n\r#"):
            host.fail("login_defs: %s: %r is no setting of login.defs" % (key, value))
        found[key] = value
    for key, name in (("max_days", "PASS_MAX_DAYS"), ("min_days", "PASS_MIN_DAYS"), ("warn_days", "PASS_WARN_AGE")):
        if params[key] is not None:
            found[name] = str(params[key])
    if params.max_days is not None and params.min_days is not None and params.min_days > params.max_days:
        days = (params.min_days, params.max_days)
        host.fail("min_days (%d) is above max_days (%d): no password could be changed" % days)
    if params.umask is not None:
        if set(params.umask) - set("01234567") or not 3 <= len(params.umask) <= 4:
            host.fail('umask: %r is no umask; write it as "027"' % params.umask)
        if int(params.umask, 8) & 0o700:
            host.fail("umask %s would keep users out of their own files" % params.umask)
        found["UMASK"] = params.umask
    if params.encrypt_method is not None:
        refuse_unknown_method(host, params.encrypt_method)
        found["ENCRYPT_METHOD"] = params.encrypt_method
    found.update(rounds(host, params))
    return found


def refuse_unknown_method(host: Host, method: str) -> None:
    """login.defs is read by all tools of accounts: what they do not know would stop each of them."""
    program = host.which("chpasswd")
    if program is not None and method.encode() not in host.read(program):
        host.fail("encrypt_method: the tools of this release do not know %s; use SHA512" % method)


def rounds(host: Host, params: Params) -> Dict[str, str]:
    if params.rounds is None:
        return {}
    if params.encrypt_method is None:
        host.fail("rounds needs encrypt_method: what they cost depends on it")
    low, high = (1, 11) if params.encrypt_method == "YESCRYPT" else (5000, 999999999)
    if not low <= params.rounds <= high:
        host.fail("rounds: %d is out of range for %s: %d to %d" % (params.rounds, params.encrypt_method, low, high))
    if params.encrypt_method == "YESCRYPT":
        return {"YESCRYPT_COST_FACTOR": str(params.rounds)}
    return {"SHA_CRYPT_MIN_ROUNDS": str(params.rounds), "SHA_CRYPT_MAX_ROUNDS": str(params.rounds)}


# --- pam_pwquality ---


def quality_text(value: Any) -> str:
    return str(int(value))


def refuse_without_pwquality(host: Host, quality: Dict[str, str]) -> None:
    """pam_pwquality must be there, and its dictionary, without which it refuses every new password."""
    if not _pam.has_module(host, "pam_pwquality.so"):
        given = next(iter(quality))
        host.fail("%s needs pam_pwquality, which is not on this host; install the package libpam-pwquality" % given)
    lines = read_text(host, QUALITY).split("\n") + read_text(host, OWN_QUALITY).split("\n")
    there = dict(found for found in map(setting, lines) if found is not None)
    checks = quality.get("dictcheck", there.get("dictcheck", "1")) != "0"
    if checks and not host.exists(DICTIONARY) and not (host.check and host.shadow.brings_unknown_files):
        hint = "install the package cracklib-runtime, or give dictcheck: false"
        host.fail("%s is not there, and pam_pwquality would refuse every new password; %s" % (DICTIONARY, hint))


def write_quality(host: Host, quality: Dict[str, str]) -> None:
    """Settings of our own file; the same keys in the main file, which counts more, become comments there."""
    wanted: Dict[str, Optional[str]] = dict(quality)
    if "enforce_for_root" in wanted:
        # A word without a value: it is there, or it is not.
        wanted["enforce_for_root"] = "" if wanted["enforce_for_root"] == "1" else None
    main = read_text(host, QUALITY)
    if any((setting(line) or ("",))[0] in wanted for line in main.split("\n")):
        host.write(QUALITY, without(main, list(wanted)))
    host.directory(QUALITY_FOLDER, mode=0o755)
    text = edited(read_text(host, OWN_QUALITY), wanted, "%s = %s")
    host.write(OWN_QUALITY, text, mode=0o644, owner="root", group="root")


# --- locking, and old passwords ---


def refuse_locking_out(host: Host, params: Params) -> None:
    if params.deny in (1, 2):
        host.fail("deny: %d locks an account for a slip of the finger; give 3 or more, or 0 for none" % params.deny)
    if params.deny == 0 and any(params[key] is not None for key in ("unlock_time", "fail_interval", "deny_root")):
        host.fail("deny: 0 takes the locking away; unlock_time, fail_interval and deny_root have no use then")
    if params.deny is None and params.deny_root:
        host.fail("deny_root needs deny: after how many failed logins")


def settle_locking(host: Host, params: Params) -> None:
    conf: Dict[str, Optional[str]] = {}
    for key in ("deny", "unlock_time", "fail_interval"):
        if params[key]:
            conf[key] = str(params[key])
    if params.deny_root is not None:
        conf["even_deny_root"] = "" if params.deny_root else None
        conf["root_unlock_time"] = str(params.unlock_time or 600) if params.deny_root else None
    if conf:
        text = edited(read_text(host, FAILLOCK_CONF), conf, "%s = %s")
        host.write(FAILLOCK_CONF, text, mode=existing(host, FAILLOCK_CONF))
    profiles: Dict[str, Optional[str]] = {}
    if params.deny is not None:
        profiles.update(_pam.FAILLOCK if params.deny else dict.fromkeys(_pam.FAILLOCK))
    if params.remember is not None:
        made = _pam.history(params.remember)
        profiles.update(made if params.remember else dict.fromkeys(made))
    _pam.settle(host, profiles)


# --- accounts that are there ---


def shadow_entry(host: Host, name: str) -> List[str]:
    """The account's fields in /etc/shadow; none when it has no line there."""
    for line in read_text(host, "/etc/shadow").split("\n"):
        fields = line.split(":")
        if fields[0] == name and len(fields) >= 8:
            return fields
    return []


def age_options(host: Host, params: Params, name: str) -> List[str]:
    """What chage has to set for an account. Fails when that would end its password, and with it its logins, at once."""
    host.uid(name)
    fields = shadow_entry(host, name)
    if not fields and not host.check:
        host.fail("apply_to: %s has no line in /etc/shadow; is it an account of another directory?" % name)
    options = []
    for key, option, place in (("min_days", "-m", 3), ("max_days", "-M", 4), ("warn_days", "-W", 5)):
        if params[key] is not None and (not fields or fields[place] != str(params[key])):
            options += [option, str(params[key])]
    if not options and params.max_days is None and params.min_days is None and params.warn_days is None:
        host.fail("apply_to needs max_days, min_days or warn_days")
    if "-M" in options and fields and fields[2].isdigit() and int(fields[2]) > 0:
        left = int(fields[2]) + params.max_days - int(time.time() // DAY)
        if left < 0:
            hint = "keys would not let it in either; give it a new one first, or leave it out"
            message = "apply_to: the password of %s was last changed %d days ago and would be at its end; %s"
            host.fail(message % (name, params.max_days - left, hint))
    return options


def set_ages(host: Host, name: str, options: List[str]) -> None:
    if not options:
        return
    host.note("", " ".join(options) + "\n", "chage %s" % name)
    host.must_run(["chage"] + options + [name], foreseen=True, env={"LC_ALL": "C"})
