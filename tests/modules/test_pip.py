"""pip on real hosts, with a folder of wheels that the test makes."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsplay.lab import LabHost
from opsplay.modules.packages._pip import requirement_lines, whole_names
from opsplay.modules.packages.pip import distribution
from tests.modules import RELEASES
from tests.modules.cases import Case, previews, prove

WHEELS = "/srv/wheels"
VENV = "/srv/venv"
OFFLINE = {"extra_args": f"--no-index --find-links={WHEELS}", "virtualenv": VENV}
OWN = {"virtualenv_command": "python3 -m venv", **OFFLINE}
MAKE = f"rm -rf {VENV}; cp -a /srv/pristine {VENV};"
# An environment's programs name its folder: the copy's own Python is asked instead.
FRESH = MAKE + f"sed -i s,/srv/pristine,{VENV}, {VENV}/bin/pip* {VENV}/pyvenv.cfg;"
INSTALL = FRESH + f"{VENV}/bin/python -m pip install -q --no-index --find-links={WHEELS} "
SHOW = f"{VENV}/bin/python -m pip list --format=freeze 2>/dev/null | grep op-"

CASES = [
    Case("a package", {"name": "op-one", **OFFLINE}, FRESH, SHOW, "op-one==2.0", result={"virtualenv": VENV}),
    Case("a package is there", {"name": ["op_one", "op-two>=1"], **OFFLINE}, INSTALL + "op-one op-two", changed=False),
    Case("a version", {"name": "op-one", "version": "1.0", **OFFLINE}, INSTALL + "op-one", SHOW, "op-one==1.0",
         result={"version": "1.0"}),
    Case("versions between", {"name": "op-one>=1.0,<2,!=1.1", **OFFLINE}, FRESH, SHOW, "op-one==1.0"),
    Case("an older one is enough", {"name": "op-one>0.5", **OFFLINE}, INSTALL + "op-one==1.0", changed=False),
    Case("the latest", {"name": "op-one", "state": "latest", **OFFLINE}, INSTALL + "op-one==1.0", SHOW, "op-one==2.0"),
    Case("the latest is there", {"name": "op-one", "state": "latest", **OFFLINE}, INSTALL + "op-one", changed=False,
         exact=False),
    Case("again by force", {"name": "op-one", "state": "forcereinstall", **OFFLINE}, INSTALL + "op-one", repeats=True,
         exact=False),
    Case("is removed", {"name": ["op-one", "op-none"], "state": "absent", "virtualenv": VENV}, INSTALL + "op-one op-two",
         SHOW, "op-two==1.0"),
    Case("is gone", {"name": "op-one", "state": "absent", "virtualenv": VENV}, FRESH, changed=False),
    Case("requirements", {"requirements": "wants.txt", "chdir": "/srv", **OFFLINE},
         FRESH + "printf '# ours\\nop-one==1.0\\nop-two\\n' > /srv/wants.txt", SHOW, "op-one==1.0\nop-two==1.0"),
    Case("requirements are met", {"requirements": "/srv/wants.txt", **OFFLINE},
         INSTALL + "op-one; echo op-one > /srv/wants.txt", changed=False),
    Case("a file", {"name": f"{WHEELS}/op_two-1.0-py3-none-any.whl", **OFFLINE}, FRESH, SHOW, "op-two==1.0",
         exact=False, repeats=False),
    Case("a new environment", {"name": "op-one", "umask": "0022", **OWN}, f"rm -rf {VENV}", SHOW, "op-one==2.0",
         exact=False),
    Case("an environment alone", {"virtualenv": VENV, "virtualenv_command": "python3 -m venv"}, f"rm -rf {VENV}",
         f"ls {VENV}/bin/activate", f"{VENV}/bin/activate"),
    Case("no virtualenv on the host", {"virtualenv": VENV}, f"rm -rf {VENV}", f"ls {VENV}/bin/activate",
         f"{VENV}/bin/activate"),
    Case("an unknown package", {"name": "op-none", "virtualenv": VENV, "extra_args": f"--no-index -f {WHEELS}"}, FRESH,
         fails="pip failed"),
    Case("an unknown program", {"name": "op-one", "executable": "pip0"}, fails="there is no pip0"),
    Case("two ways at once", {"name": "a", "requirements": "b"}, fails="make them two tasks"),
    Case("two environments", {"name": "a", "executable": "pip3", "virtualenv": VENV}, fails="has its own pip"),
    Case("a version of the latest", {"name": "a", "version": "1", "state": "latest"}, fails="incompatible"),
    Case("nothing", {}, fails="is required"),
]  # fmt: skip
# Before 22.2, in Debian 11, pip cannot say what it would do.
UNFORETOLD = ("a-package", "versions-between", "the-latest", "the-latest-is-there", "again-by-force", "requirements",
              "a-version", "an-unknown-package", "a-file")  # fmt: skip


def wheel(folder: Path, name: str, version: str) -> None:
    """A package without any code."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{digest(text)},{len(text)}\n" for path, text in files.items())
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)


def digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@pytest.fixture(scope="module")
def hosts(fleet: dict[str, LabHost]) -> Iterator[dict[str, LabHost]]:
    """The hosts with pip, the wheels, and an environment to copy."""
    for host in fleet.values():
        host.run("apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends"
                 " python3-pip python3-venv; python3 -m venv /srv/pristine", timeout=300)  # fmt: skip
        folder = host.root / WHEELS.lstrip("/")
        folder.mkdir(exist_ok=True)
        for name, version in (("op_one", "1.0"), ("op_one", "1.1"), ("op_one", "2.0"), ("op_two", "1.0")):
            wheel(folder, name, version)
    yield fleet
    for host in fleet.values():
        host.run(f"rm -rf {VENV} /srv/pristine {WHEELS}")


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("release", RELEASES)
def test_pip(hosts: dict[str, LabHost], case: Case, release: str) -> None:
    if release == "bullseye" and str(case) in UNFORETOLD:
        pytest.skip("this pip cannot foretell")
    prove(hosts[release], "packages.pip", case)


@pytest.mark.lab
def test_a_preview_goes_on_without_what_it_would_bring(hosts: dict[str, LabHost]) -> None:
    """An environment that only the task before would have made, and a pip that only a package would bring."""
    host = hosts["bookworm"]
    host.run(f"rm -rf {VENV}")
    first, second, third, fourth = previews(
        host,
        [
            ("packages.pip", {"name": "op-one", **OWN}),
            ("packages.pip", {"name": "op-two", **OWN}),
            ("packages.apt", {"name": "cowsay"}),
            ("packages.pip", {"name": "op-two", "executable": "/opt/none/pip"}),
        ],
    )
    assert first["changed"] and second["changed"] and third["changed"] and fourth["changed"]
    assert [entry["after"] for entry in second["diff"]] == ["op-two\n"]


def test_names_are_put_together_again() -> None:
    assert whole_names(["a>1", "<2", "!=1.5", "b[x", "y]==3", "c"]) == ["a>1,<2,!=1.5", "b[x,y]==3", "c"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [("# x\na\n\nb==1 # y\n", ["a", "b==1"]), ("-r other\n", None), ("a\n./b\n", None), ("a \\\n >1\n", ["a  >1"])],
)
def test_files_of_requirements(text: str, lines: list[str] | None) -> None:
    assert requirement_lines(text) == lines


@pytest.mark.parametrize("text", ["Op_One", "op.one[x]>=1", "op-one ; python_version > '3'", "OP-ONE @ file:///x"])
def test_the_name_of_a_distribution(text: str) -> None:
    assert distribution(text) == "op-one"
