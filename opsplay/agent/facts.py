"""Facts about a host that cost next to nothing: from files, the kernel's names and the environment, without a program.

Each collector returns facts under Ansible's names, without the prefix `ansible_`. The dearer ones (hardware, network,
virtualisation) travel with the setup module.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Callable, Dict

from opsplay.agent import words
from opsplay.agent.distribution import distribution, lsb, os_release, package_manager

KEY_FOLDERS = ("/etc/ssh", "/etc/openssh", "/etc")
SERVICE_MANAGERS = {"procd": "openwrt_init", "runit-init": "runit", "svscan": "svc", "openrc-init": "openrc"}
# Names of the capabilities by their number, from capabilities(7).
CAPABILITIES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)


def text_of(path: str, default: str = "") -> str:
    """A small file's content without the white space around it, `default` when it is absent, unreadable or empty."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return default
    try:
        parts = []
        while True:
            data = os.read(fd, 65536)
            if not data:
                break
            parts.append(data)
    except OSError:
        return default
    finally:
        os.close(fd)
    return b"".join(parts).decode("utf-8", "surrogateescape").strip() or default


def platform(host: Any) -> Dict[str, Any]:
    system = os.uname()
    bits = 64 if sys.maxsize > 1 << 32 else 32
    machine = system.machine
    intel = machine in ("i386", "i486", "i586", "i686")
    userspace = ("x86_64" if bits == 64 else "i386") if machine == "x86_64" or intel else machine
    fqdn = full_name(system.nodename)
    facts = {
        "system": system.sysname,
        "kernel": system.release,
        "kernel_version": system.version,
        "machine": machine,
        "architecture": "i386" if intel else machine,
        "userspace_bits": str(bits),
        "userspace_architecture": userspace,
        "python_version": "%d.%d.%d" % sys.version_info[:3],
        "nodename": system.nodename,
        "hostname": system.nodename.split(".")[0],
        "fqdn": fqdn,
        "domain": fqdn.partition(".")[2],
    }
    machine_id = text_of("/var/lib/dbus/machine-id") or text_of("/etc/machine-id")
    if machine_id:
        facts["machine_id"] = machine_id.split("\n")[0]
    return facts


def full_name(name: str) -> str:
    """The host's full name as its resolver gives it; the same as socket.getfqdn, which costs far more to import."""
    import _socket

    try:
        found, aliases, _ = _socket.gethostbyaddr(name.encode())  # type: ignore[arg-type]
    except (OSError, UnicodeError):
        return name
    return next((one for one in [found] + aliases if "." in one), found)


def user(host: Any) -> Dict[str, Any]:
    import pwd

    env = os.environ
    name = env.get("LOGNAME") or env.get("USER") or env.get("LNAME") or env.get("USERNAME")
    try:
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())
    except KeyError:
        try:
            entry = pwd.getpwuid(os.getuid())
        except KeyError:
            return {"user_id": name or str(os.getuid()), "user_uid": os.getuid(), "user_gid": os.getgid(), **ids()}
    facts = {"user_id": name or entry.pw_name, "user_uid": entry.pw_uid, "user_gid": entry.pw_gid}
    return dict(facts, user_gecos=entry.pw_gecos, user_dir=entry.pw_dir, user_shell=entry.pw_shell, **ids())


def ids() -> Dict[str, int]:
    return {
        "real_user_id": os.getuid(),
        "effective_user_id": os.geteuid(),
        "real_group_id": os.getgid(),
        "effective_group_id": os.getegid(),
    }


def env(host: Any) -> Dict[str, Any]:
    return {"env": dict(os.environ)}


def python(host: Any) -> Dict[str, Any]:
    version = sys.version_info
    names = ("major", "minor", "micro", "releaselevel", "serial")
    return {
        "python": {
            "version": {name: version[place] for place, name in enumerate(names)},
            "version_info": list(version),
            "executable": sys.executable,
            "has_sslcontext": True,
            "type": sys.implementation.name,
        }
    }


def date_time(host: Any) -> Dict[str, Any]:
    now = time.time()
    local, universal = time.localtime(now), time.gmtime(now)
    micro = "%06d" % (int(now * 1e6) % 1000000)
    names = {
        "year": "%Y", "month": "%m", "weekday": "%A", "weekday_number": "%w", "weeknumber": "%W", "day": "%d",
        "hour": "%H", "minute": "%M", "second": "%S", "date": "%Y-%m-%d", "time": "%H:%M:%S",
        "iso8601_basic_short": "%Y%m%dT%H%M%S", "tz": "%Z", "tz_offset": "%z",
    }
    facts = {name: time.strftime(form, local) for name, form in names.items()}
    facts["epoch"] = facts["epoch_int"] = str(int(now))
    facts["tz_dst"] = time.tzname[1]
    facts["iso8601"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", universal)
    facts["iso8601_micro"] = time.strftime("%Y-%m-%dT%H:%M:%S.", universal) + micro + "Z"
    facts["iso8601_basic"] = time.strftime("%Y%m%dT%H%M%S", local) + micro
    return {"date_time": facts}


def service_mgr(host: Any) -> Dict[str, Any]:
    first = text_of("/proc/1/comm")
    if first and first != "init" and not first.endswith("sh"):
        return {"service_mgr": SERVICE_MANAGERS.get(first, first)}
    return {"service_mgr": manager_by_files()}


def manager_by_files() -> str:
    """The service manager where the first process does not tell."""
    if any(os.path.exists(path) for path in ("/run/systemd/system", "/dev/.run/systemd", "/dev/.systemd")):
        return "systemd"
    if os.path.exists("/sbin/initctl") and os.path.exists("/etc/init"):
        return "upstart"
    if os.path.exists("/sbin/openrc"):
        return "openrc"
    if os.path.islink("/sbin/init") and os.path.basename(os.readlink("/sbin/init")) == "systemd":
        return "systemd"
    return "sysvinit" if os.path.exists("/etc/init.d") else "service"


def pkg_mgr(host: Any) -> Dict[str, Any]:
    return {"pkg_mgr": package_manager(os_release())}


def selinux(host: Any) -> Dict[str, Any]:
    if not os.path.exists("/sys/fs/selinux/enforce"):
        return {"selinux_python_present": True, "selinux": {"status": "disabled"}}
    config = dict(line.split("=", 1) for line in text_of("/etc/selinux/config").splitlines() if "=" in line)
    version = text_of("/sys/fs/selinux/policyvers", "unknown")
    facts = {
        "status": "enabled",
        "policyvers": int(version) if version.isdigit() else version,
        "config_mode": config.get("SELINUX", "unknown").strip(),
        "mode": "enforcing" if text_of("/sys/fs/selinux/enforce") == "1" else "permissive",
        "type": config.get("SELINUXTYPE", "unknown").strip(),
    }
    return {"selinux_python_present": True, "selinux": facts}


def apparmor(host: Any) -> Dict[str, Any]:
    enabled = os.path.exists("/sys/kernel/security/apparmor")
    return {"apparmor": {"status": "enabled" if enabled else "disabled"}}


def cmdline(host: Any) -> Dict[str, Any]:
    text = text_of("/proc/cmdline")
    single: Dict[str, Any] = {}
    repeated: Dict[str, Any] = {}
    try:
        found = words.split(text)
    except ValueError:
        found = text.split()
    for word in found:
        name, equals, value = word.partition("=")
        item = value if equals else True
        single[name] = item
        if name in repeated:
            known = repeated[name]
            repeated[name] = (known if isinstance(known, list) else [known]) + [item]
        else:
            repeated[name] = item
    return {"cmdline": single, "proc_cmdline": repeated}


def fips(host: Any) -> Dict[str, Any]:
    return {"fips": text_of("/proc/sys/crypto/fips_enabled") == "1"}


def dns(host: Any) -> Dict[str, Any]:
    facts: Dict[str, Any] = {}
    for line in text_of("/etc/resolv.conf").splitlines():
        parts = line.split()
        if not parts or parts[0][0] in "#;":
            continue
        if parts[0] == "nameserver":
            facts.setdefault("nameservers", []).extend(parts[1:])
        elif parts[0] == "domain" and len(parts) > 1:
            facts["domain"] = parts[1]
        elif parts[0] in ("search", "sortlist"):
            facts[parts[0]] = parts[1:]
        elif parts[0] == "options":
            pairs = [option.partition(":") for option in parts[1:]]
            facts.setdefault("options", {}).update({name: value if colon else True for name, colon, value in pairs})
    return {"dns": facts}


def capabilities(host: Any) -> Dict[str, Any]:
    """What `capsh --print` says of the running process, in the form that Ansible cuts it."""
    effective = 0
    for line in text_of("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    last = int(text_of("/proc/sys/kernel/cap_last_cap", "40"))
    names = ["cap_" + name for name in CAPABILITIES.split()]
    absent = [bit for bit in range(last + 1) if not effective >> bit & 1]
    missing = [names[bit] if bit < len(names) else "cap_%d" % bit for bit in absent]
    if not missing:
        return {"system_capabilities": [], "system_capabilities_enforced": "False"}
    if len(missing) > last:
        listed = [""]
    elif len(missing) * 2 > last + 1:
        listed = ["ep"]
    else:
        listed = ("ep %s-ep" % ",".join(missing)).split(",")
    return {"system_capabilities": listed, "system_capabilities_enforced": "True"}


def host_keys(host: Any) -> Dict[str, Any]:
    facts: Dict[str, Any] = {}
    for folder in KEY_FOLDERS:
        for kind in ("dsa", "rsa", "ecdsa", "ed25519"):
            parts = text_of("%s/ssh_host_%s_key.pub" % (folder, kind)).split()
            if len(parts) > 1:
                facts["ssh_host_key_%s_public" % kind] = parts[1]
                facts["ssh_host_key_%s_public_keytype" % kind] = parts[0]
        if facts:
            break
    return facts


def release(host: Any) -> Dict[str, Any]:
    return distribution(os_release())


def linux_standard_base(host: Any) -> Dict[str, Any]:
    return {"lsb": lsb(os_release())}


# In the order in which they are gathered.
MINIMAL: Dict[str, Callable[[Any], Dict[str, Any]]] = {
    "platform": platform,
    "distribution": release,
    "user": user,
    "python": python,
    "env": env,
    "date_time": date_time,
    "pkg_mgr": pkg_mgr,
    "service_mgr": service_mgr,
    "selinux": selinux,
    "apparmor": apparmor,
    "cmdline": cmdline,
    "fips": fips,
    "dns": dns,
    "caps": capabilities,
    "lsb": linux_standard_base,
    "ssh_pub_keys": host_keys,
}
