"""A small apt repository inside a lab host: packages of every kind, without a network."""

from __future__ import annotations

from dataclasses import dataclass

from opsplay.lab import LabHost

FOLDER = "/srv/repository"


@dataclass(frozen=True)
class Deb:
    """A package to be built: further control fields, a maintainer script, and a configuration file."""

    name: str
    version: str = "1.0"
    fields: str = ""
    postinst: str = "true"
    conffile: bool = False


# policy-rc.d is what stops services from being started; this package writes down what it says.
_ASKS = "test ! -x /usr/sbin/policy-rc.d || { /usr/sbin/policy-rc.d x start; echo $? > /run/policy; }"
DEBS = (
    Deb("op-a", "1.0"),
    Deb("op-a", "1.1"),
    Deb("op-a", "2.0-1"),
    Deb("op-b", fields="Depends: op-c\nRecommends: op-r\n"),
    Deb("op-c"),
    Deb("op-r"),
    Deb("op-one", fields="Provides: op-virtual\n"),
    Deb("op-two", fields="Provides: op-virtual (= 2)\n"),
    Deb("op-only", fields="Provides: op-alias\n"),
    Deb("op-conf", conffile=True),
    Deb("op-policy", postinst=_ASKS),
    Deb("op-slow", postinst="sleep 2; touch /run/op-slow-is-configured"),
    Deb("op-bad", postinst="test -e /run/op-bad-may"),
    Deb("op-essential", fields="Conflicts: op-a\n"),
    Deb("op+x.y"),
)


def build(host: LabHost) -> None:
    """Build the packages and make the repository the host's only one."""
    script = [f"set -e; rm -rf {FOLDER}; mkdir -p {FOLDER}; cd {FOLDER}"]
    for deb in DEBS:
        tree = f"/tmp/build/{deb.name}_{deb.version}"
        control = (
            f"Package: {deb.name}\nVersion: {deb.version}\nArchitecture: all\nMaintainer: Test <test@example.org>\n"
            f"Description: for tests\n{deb.fields}"
        )
        # dpkg lets a package disappear when others have all of its paths: each has a file of its own.
        script.append(f"mkdir -p {tree}/DEBIAN {tree}/etc {tree}/opt; echo x > {tree}/opt/{deb.name}")
        script.append(f"cat > {tree}/DEBIAN/control <<'E'\n{control}E")
        script.append(f"cd {tree}/DEBIAN; printf '#!/bin/sh\\n%s\\n' '{deb.postinst}' > postinst; chmod 755 postinst")
        if deb.conffile:
            script.append(f"echo x > {tree}/etc/{deb.name}; echo /etc/{deb.name} > conffiles")
        script.append(f"cd {FOLDER}")
        script.append(f"dpkg-deb -z0 --root-owner-group --build {tree} {deb.name}_{deb.version}.deb >/dev/null")
    script.append("rm -rf /tmp/build; mkdir -p /etc/apt/kept; mv /etc/apt/sources.list* /etc/apt/kept")
    script.append(f"echo 'deb [trusted=yes] file:{FOLDER} ./' > /etc/apt/sources.list")
    host.run("\n".join(script), timeout=120)
    index(host)


def index(host: LabHost) -> None:
    """Write the repository's list, and let apt fetch it."""
    host.run(
        f"cd {FOLDER}; for deb in *.deb; do dpkg-deb -f $deb; echo Filename: ./$deb; echo Size: $(stat -c %s $deb);"
        "echo SHA256: $(sha256sum $deb | cut -d' ' -f1); echo; done > Packages;"
        "printf 'Label: Test\\nSuite: test\\nCodename: test\\nSHA256:\\n %s %s Packages\\n' "
        "$(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) > Release;"
        "rm -rf /var/lib/apt/lists/*; apt-get -q update",
        timeout=60,
    )


def restore(host: LabHost) -> None:
    """Give the host its own sources back."""
    host.run("rm -rf /etc/apt/sources.list*; mv /etc/apt/kept/* /etc/apt/; rmdir /etc/apt/kept")


# No package of the repository is there, held, half installed, or left behind as a file.
FRESH = (
    "touch /run/op-bad-may; for p in $(dpkg-query -W -f '${Package}\\n' 'op-*' 'op+*' 2>/dev/null); do "
    "dpkg --force-all --purge $p >/dev/null 2>&1; done; apt-mark -q unhold op-a >/dev/null;"
    "rm -f /run/op-* /run/policy /var/cache/apt/archives/*.deb /usr/sbin/policy-rc.d;"
)
