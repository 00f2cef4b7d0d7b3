"""Facts about processors, memory, mounts, block devices and firmware, from /proc and /sys."""

from __future__ import annotations

import os
from typing import Any, Dict
from typing import List as ListOf

from opsplay.agent.facts import text_of

DMI = "/sys/devices/virtual/dmi/id/"
DMI_FILES = {
    "bios_date": "bios_date", "bios_vendor": "bios_vendor", "bios_version": "bios_version",
    "board_asset_tag": "board_asset_tag", "board_name": "board_name", "board_serial": "board_serial",
    "board_vendor": "board_vendor", "board_version": "board_version", "chassis_asset_tag": "chassis_asset_tag",
    "chassis_serial": "chassis_serial", "chassis_vendor": "chassis_vendor", "chassis_version": "chassis_version",
    "form_factor": "chassis_type", "product_name": "product_name", "product_serial": "product_serial",
    "product_uuid": "product_uuid", "product_version": "product_version", "system_vendor": "sys_vendor",
}
# Names by the number of chassis_type, from the SMBIOS reference specification, 7.4.1.
FORM_FACTORS = (
    "Unknown", "Other", "Unknown", "Desktop", "Low Profile Desktop", "Pizza Box", "Mini Tower", "Tower", "Portable",
    "Laptop", "Notebook", "Hand Held", "Docking Station", "All In One", "Sub Notebook", "Space-saving", "Lunch Box",
    "Main Server Chassis", "Expansion Chassis", "Sub Chassis", "Bus Expansion Chassis", "Peripheral Chassis",
    "RAID Chassis", "Rack Mount Chassis", "Sealed-case PC", "Multi-system", "CompactPCI", "AdvancedTCA", "Blade",
    "Blade Enclosure", "Tablet", "Convertible", "Detachable", "IoT Gateway", "Embedded PC", "Mini PC", "Stick PC",
)
# A server that is gone makes any question about these hang: a program that can be ended asks.
NETWORKED = ("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "afs", "9p")
DISK_LINKS = {"ids": "/dev/disk/by-id", "uuids": "/dev/disk/by-uuid", "labels": "/dev/disk/by-label"}
UNITS = (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("Bytes", 1))


def hardware(host: Any, timeout: float = 10) -> Dict[str, Any]:
    """All facts of the hardware subset."""
    facts = processors()
    facts.update(memory())
    facts.update(firmware())
    facts["uptime_seconds"] = int(float(text_of("/proc/uptime", "0").split()[0]))
    links = device_links()
    facts["mounts"] = mounts(host, timeout)
    facts["devices"] = devices(links)
    facts["device_links"] = links
    facts["lvm"] = lvm(host, timeout)
    return facts


def processors() -> Dict[str, Any]:
    listed: ListOf[str] = []
    flags: ListOf[str] = []
    sockets: Dict[str, int] = {}
    socket, count = "0", 0
    siblings = cores = 0
    for line in text_of("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if name in ("processor", "model name", "vendor_id", "Processor", "cpu", "Vendor"):
            listed.append(value)
            count += name == "processor"
        elif name == "physical id":
            socket = value
            sockets.setdefault(socket, 1)
        elif name == "cpu cores":
            cores = int(value)
            sockets[socket] = cores
        elif name == "siblings":
            siblings = int(value)
        elif name in ("flags", "Features") and not flags:
            flags = value.split()
    if sockets:
        threads = max(1, siblings // cores) if cores else 1
        per_socket = next(iter(sockets.values()))
        facts = {"processor_count": len(sockets), "processor_cores": per_socket, "processor_threads_per_core": threads}
        facts["processor_vcpus"] = threads * per_socket * len(sockets)
    else:
        facts = {"processor_count": count, "processor_cores": 1, "processor_threads_per_core": 1}
        facts["processor_vcpus"] = count
    return dict(facts, processor=listed, processor_nproc=len(os.sched_getaffinity(0)), flags=flags)


def memory() -> Dict[str, Any]:
    kib: Dict[str, int] = {}
    for line in text_of("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        kib[name] = int(value.split()[0])

    def mib(*names: str) -> int:
        return sum(kib.get(name, 0) for name in names) // 1024

    total, free = mib("MemTotal"), mib("MemFree")
    spare = mib("MemFree", "Cached", "Buffers")
    swap_total, swap_free = mib("SwapTotal"), mib("SwapFree")
    return {
        "memtotal_mb": total,
        "memfree_mb": free,
        "swaptotal_mb": swap_total,
        "swapfree_mb": swap_free,
        "memory_mb": {
            "real": {"total": total, "used": total - free, "free": free},
            "nocache": {"free": spare, "used": total - spare},
            "swap": {
                "total": swap_total, "free": swap_free, "used": swap_total - swap_free, "cached": mib("SwapCached"),
            },
        },
    }


def firmware() -> Dict[str, str]:
    facts = {name: text_of(DMI + file, "NA") for name, file in DMI_FILES.items()}
    kind = facts["form_factor"]
    if kind.isdigit():
        facts["form_factor"] = FORM_FACTORS[int(kind)] if int(kind) < len(FORM_FACTORS) else "unknown (%s)" % kind
    return facts


def mounts(host: Any, timeout: float) -> ListOf[Dict[str, Any]]:
    """The mounted file systems that lie on a device or come from another host."""
    binds = bound()
    uuids = names_of("/dev/disk/by-uuid")
    found = []
    for line in text_of("/proc/self/mounts").splitlines():
        device, place, kind, options = [unescape(part) for part in line.split()[:4]]
        if not device.startswith(("/", "\\")) and ":/" not in device or kind == "none":
            continue
        entry: Dict[str, Any] = {"mount": place, "device": device, "fstype": kind, "dump": 0, "passno": 0}
        entry["options"] = options + (",bind" if place in binds else "")
        entry.update(room(host, place, kind, timeout))
        entry["uuid"] = uuids.get(os.path.basename(os.path.realpath(device)), ["N/A"])[0]
        found.append(entry)
    return found


def unescape(text: str) -> str:
    """The kernel writes white space and backslashes as octal numbers."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def bound() -> Any:
    """The mount points that show a part of a file system, not its root."""
    lines = [line.split() for line in text_of("/proc/self/mountinfo").splitlines()]
    return {unescape(parts[4]) for parts in lines if len(parts) > 4 and parts[3] != "/"}


def room(host: Any, place: str, kind: str, timeout: float) -> Dict[str, int]:
    """How much a file system holds and has left; empty when it does not answer."""
    if kind in NETWORKED:
        done = host.query(["stat", "-f", "-c", "%S %s %b %a %c %d", place], timeout=timeout)
        if done.rc or done.timed_out:
            return {}
        fragment, block, blocks, free, inodes, inodes_free = [int(word) for word in done.stdout.split()]
    else:
        try:
            found = os.statvfs(place)
        except OSError:
            return {}
        fragment, block, blocks, free = found.f_frsize, found.f_bsize, found.f_blocks, found.f_bavail
        inodes, inodes_free = found.f_files, found.f_favail
    return {
        "size_total": fragment * blocks,
        "size_available": fragment * free,
        "block_size": block,
        "block_total": blocks,
        "block_available": free,
        "block_used": blocks - free,
        "inode_total": inodes,
        "inode_available": inodes_free,
        "inode_used": inodes - inodes_free,
    }


def names_of(folder: str) -> Dict[str, ListOf[str]]:
    """The links in a folder of /dev/disk by the device they lead to."""
    found: Dict[str, ListOf[str]] = {}
    if os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            device = os.path.basename(os.path.realpath(os.path.join(folder, name)))
            found.setdefault(device, []).append(name.replace("\\x20", " "))
    return found


def device_links() -> Dict[str, Any]:
    links: Dict[str, Any] = {kind: names_of(folder) for kind, folder in DISK_LINKS.items()}
    masters: Dict[str, ListOf[str]] = {}
    for block in block_devices():
        folder = "/sys/block/%s/slaves" % block
        for slave in os.listdir(folder) if os.path.isdir(folder) else ():
            masters.setdefault(slave, []).append(block)
    return dict(links, masters={device: sorted(names) for device, names in masters.items()})


def block_devices() -> ListOf[str]:
    return sorted(os.listdir("/sys/block")) if os.path.isdir("/sys/block") else []


def devices(links: Dict[str, Any]) -> Dict[str, Any]:
    """The block devices with their partitions; memory disks and empty drives without a medium included."""
    return {name: block_device(name, links) for name in block_devices() if not name.startswith("ram")}


def block_device(name: str, links: Dict[str, Any]) -> Dict[str, Any]:
    folder = "/sys/block/%s/" % name
    sector = text_of(folder + "queue/logical_block_size", "512")
    sectors = int(text_of(folder + "size", "0"))
    schedulers = text_of(folder + "queue/scheduler")
    chosen = schedulers.partition("[")[2].partition("]")[0]
    facts: Dict[str, Any] = {
        field: text_of(folder + "device/" + field) or None
        for field in ("vendor", "model", "sas_address", "sas_device_handle")
    }
    facts.update(
        virtual=1,
        host="",
        links=links_of(name, links),
        removable=text_of(folder + "removable", "0"),
        rotational=text_of(folder + "queue/rotational", "0"),
        support_discard=text_of(folder + "queue/discard_granularity", "0"),
        scheduler_mode=chosen,
        sectors=sectors,
        sectorsize=sector,
        size=readable(sectors * 512),
        holders=holders(folder),
        partitions={part: partition(folder, part, links) for part in os.listdir(folder) if part.startswith(name)},
    )
    return facts


def partition(folder: str, name: str, links: Dict[str, Any]) -> Dict[str, Any]:
    inside = "%s%s/" % (folder, name)
    sectors = int(text_of(inside + "size", "0"))
    known = links_of(name, links)
    return {
        "links": known,
        "start": text_of(inside + "start", "0"),
        "sectors": sectors,
        "sectorsize": int(text_of(folder + "queue/logical_block_size", "512")),
        "size": readable(sectors * 512),
        "uuid": known["uuids"][0] if known["uuids"] else None,
        "holders": holders(inside),
    }


def links_of(name: str, links: Dict[str, Any]) -> Dict[str, ListOf[str]]:
    return {kind: links[kind].get(name, []) for kind in ("ids", "uuids", "labels", "masters")}


def holders(folder: str) -> ListOf[str]:
    """What lies on a device: the names of device-mapper volumes, else of the devices."""
    path = folder + "holders"
    found = sorted(os.listdir(path)) if os.path.isdir(path) else []
    return [text_of("/sys/block/%s/dm/name" % name, name) if name.startswith("dm-") else name for name in found]


def readable(size: float) -> str:
    unit, factor = next(((unit, factor) for unit, factor in UNITS if size >= factor), ("Bytes", 1))
    return "%.2f %s" % (size / factor, unit)


def lvm(host: Any, timeout: float) -> Any:
    """Volume groups and their volumes, for root on a host that has the programs."""
    if os.geteuid() != 0 or not host.which("vgs"):
        return "N/A"
    facts: Dict[str, Any] = {"vgs": {}, "lvs": {}, "pvs": {}}
    for name, size, free, volumes, disks in table(host, "vgs", "vg_name,vg_size,vg_free,lv_count,pv_count", timeout):
        facts["vgs"][name] = {"size_g": size, "free_g": free, "num_lvs": volumes, "num_pvs": disks}
    for name, group, size in table(host, "lvs", "lv_name,vg_name,lv_size", timeout):
        facts["lvs"][name] = {"size_g": size, "vg": group}
    for name, group, size, free in table(host, "pvs", "pv_name,vg_name,pv_size,pv_free", timeout):
        facts["pvs"][name] = {"size_g": size, "free_g": free, "vg": group}
    return facts


def table(host: Any, program: str, columns: str, timeout: float) -> ListOf[ListOf[str]]:
    """What an LVM program reports, a list of values for each line, sizes in GiB."""
    form = ["--noheadings", "--nosuffix", "--units", "g", "--separator", ",", "-o", columns]
    argv = [host.which(program) or program] + form
    lines = host.query(argv, timeout=timeout).stdout.splitlines()
    rows = [[value.strip() for value in line.split(",")] for line in lines]
    return [row for row in rows if len(row) == columns.count(",") + 1]
