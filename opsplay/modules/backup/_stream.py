"""The parts of a backup set that a program writes to its standard output: mongodump, slapcat, mysqldump."""

from __future__ import annotations

from typing import Any, Dict, Optional

from opsplay.agent.cipher import Cipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program
from opsplay.agent.spec import Dict as Mapping
from opsplay.agent.spec import List as Listing
from opsplay.agent.spec import Param, Str, validate
from opsplay.modules.backup._sealing import sealed

KIND = "stream"
SUFFIX = ".stream"
STREAM: Dict[str, Param] = {
    "argv": Listing(of=Str(), required=True, split=False),
    "check": Listing(of=Str(), default=[], split=False),
    "environment": Mapping(of=Str(), default={}),
}


class Stream:
    """What one program writes. `check` is a program that reads it on its way, and has to be content."""

    def __init__(self, host: Host, name: str, given: Dict[str, Any]) -> None:
        self.name = name
        self._host = host
        self._params = validate(STREAM, given)

    def size(self) -> int:
        """Not known before it is made."""
        return 0

    def preview(self, folder: str) -> None:
        """Fails where the program is not on this host."""
        for argv in (self._params.argv, self._params.check):
            if argv and self._host.which(argv[0]) is None and not self._host.shadow.brings_unknown_files:
                self._host.fail("%s: there is no program %s on this host" % (self.name, argv[0]))

    def make(self, folder: str, crypt: Optional[Cipher]) -> Dict[str, Any]:
        """Run the program, and describe what it wrote. Raises Failed: also when that was nothing at all."""
        env = dict(self._params.environment)
        sides = [[Program(self._params.check, env)]] if self._params.check else []
        program = Program(self._params.argv, env)
        name = self.name + SUFFIX
        entry = sealed(self._host, folder, name, crypt, [program], sides, text="writing %s" % self.name)
        if not entry.get("plain_size", entry["size"]):
            raise Failed("%s wrote nothing" % program.name, program.name)
        return {"name": self.name, "kind": KIND, "program": program.name, "files": [entry]}
