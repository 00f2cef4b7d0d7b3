"""All that is shipped starts on every Python found here, 3.6 and newer, with nothing but the standard library."""

from __future__ import annotations

import marshal
import shutil
import subprocess
from pathlib import Path

import pytest

from opsplay.session.strip import strip
from tests.modules.harness import MODULES

ROOT = MODULES.parent
PROGRAM = """
import marshal, sys
sources = marshal.loads(open(sys.argv[1], "rb").read())
boot = {}
exec(sources["opsplay.agent.boot"], boot)
sys.meta_path.insert(0, boot["ShippedImporter"](sources))
for name in sorted(sources):
    __import__(name)
from opsplay.agent import spec
from opsplay.agent.host import Host
from opsplay.modules.files import copy, lineinfile
from opsplay.modules.commands import command
from opsplay.modules.system import setup
class Agent:
    def flush(self):
        pass
host = Host(Agent())
facts = setup.run(host, spec.validate(setup.PARAMS, {}))["ansible_facts"]
assert facts["ansible_python_version"] == "%d.%d.%d" % sys.version_info[:3]
path = sys.argv[2]
assert copy.run(host, spec.validate(copy.PARAMS, {"dest": path, "content": "one\\n"}))["changed"]
assert lineinfile.run(host, spec.validate(lineinfile.PARAMS, {"path": path, "line": "two"}))["changed"]
assert command.run(host, spec.validate(command.PARAMS, {"cmd": "cat " + path}))["stdout_lines"] == ["one", "two"]
print("done")
"""


def interpreters() -> list[str]:
    """One interpreter of each version: those on the path, and those that pyenv keeps."""
    found = {}
    for minor in range(6, 16):
        on_path = shutil.which(f"python3.{minor}")
        kept = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3"))
        # pyenv's shims are on the path whether the version is chosen or not.
        if kept:
            found[minor] = str(kept[-1])
        elif on_path and "shims" not in on_path:
            found[minor] = on_path
    return list(found.values())


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = [path for area in ("agent", "modules") for path in (ROOT / area).rglob("*.py")]
    names = {path: ".".join(("opsplay", *path.relative_to(ROOT).with_suffix("").parts)) for path in paths}
    sources = {name: strip(path.read_text()) for path, name in names.items() if path.stem != "__init__"}
    target = tmp_path_factory.mktemp("shipped") / "sources"
    target.write_bytes(marshal.dumps(sources, 2))
    return target


@pytest.mark.parametrize("python", interpreters())
def test_starts(python: str, shipped: Path, tmp_path: Path) -> None:
    command = [python, "-I", "-S", "-c", PROGRAM, str(shipped), str(tmp_path / "f")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("done\n", ""), done.stderr
