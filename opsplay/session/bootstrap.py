"""Start an agent with one exec: find an interpreter, become the wanted user, say hello.

The command is one line for the login shell. Its Python part first moves the protocol's streams to descriptors of
their own, then reports the interpreter's bytecode format and version, and runs what it is sent.
"""

from __future__ import annotations

import json
import secrets
import shlex
import time
from dataclasses import dataclass, field

from opsplay.agent import protocol
from opsplay.errors import BecomeFailed, ConnectionLost, InterpreterMissing, ProtocolError
from opsplay.transport.base import Stream

OLDEST = (3, 6)
CANDIDATES = (
    "python3",
    "/usr/bin/python3",
    *(f"python3.{minor}" for minor in (13, 12, 11, 10, 9, 8, 7, 14, 6)),
    "/usr/local/bin/python3",
    "/usr/libexec/platform-python",
)

# Seconds from the exec to the agent's first word.
HELLO_WITHIN = 60.0
PROMPT_POLL = 0.02
# Seconds from an agent's first word until it must have its code; then it ends: whoever should send it is gone, which a
# connection that was cut does not tell. A heartbeat sends it at the latest.
CODE_WITHIN = 90

# Read by the host's Python as it stands; single quotes would end the shell's word.
FIRST_STAGE = (
    "import os,sys,zlib,marshal,struct,_signal;_signal.alarm(WITHIN);"
    "i=os.dup(0);o=os.dup(1);n=os.open(os.devnull,2);os.dup2(n,0);os.dup2(2,1);"
    'm=b"MARK";'
    "import _frozen_importlib_external as f;"
    'h=("%s %d.%d.%d %d %d"%((f.MAGIC_NUMBER.hex(),)+sys.version_info[:3]+(os.getpid(),os.getuid()))).encode();'
    'os.write(o,m+struct.pack(">BHII",16,0,1,len(h))+h);'
    'exec("def r(n):\\n b=bytes()\\n while len(b)<n:\\n  d=os.read(i,n-len(b))\\n  if not d: os._exit(0)\\n'
    '  b+=d\\n return b");'
    'k,p=marshal.loads(zlib.decompress(r(int.from_bytes(r(4),"big"))));'
    'g={};exec(k,g);g["start"](i,o,m,p)'
)

# `command -v` fails for an absolute path that is not there; printf writes an empty hello: no interpreter.
SEARCH = (
    "for p in CANDIDATES; do "
    'if command -v "$p" >/dev/null 2>&1; then exec "$p" -I -S -c "$0"; fi; '
    "done; printf 'MARK\\020\\000\\000\\000\\000\\000\\001\\000\\000\\000\\000'"
)


@dataclass(frozen=True)
class Escalation:
    """Become another user: `method` sudo, su or doas, by another `program` where one is named.

    The password is only ever written to the prompt.
    """

    user: str = "root"
    method: str = "sudo"
    flags: str | None = None
    password: str | None = field(default=None, repr=False)
    program: str | None = None


@dataclass(frozen=True)
class Hello:
    """What a started interpreter says of itself."""

    magic: str
    version: tuple[int, ...]
    pid: int
    uid: int


@dataclass(frozen=True)
class Command:
    """The line to execute, the mark that frames will carry, and the prompt that asks for the password."""

    line: str
    mark: bytes
    prompt: str


def build_command(interpreter: str | None, become: Escalation | None) -> Command:
    """The one line that starts an agent."""
    mark = secrets.token_hex(protocol.MARK_LENGTH // 2)
    prompt = f"opsplay-{secrets.token_hex(8)}:"
    names = (interpreter,) if interpreter else CANDIDATES
    search = SEARCH.replace("CANDIDATES", " ".join(shlex.quote(name) for name in names)).replace("MARK", mark)
    first = FIRST_STAGE.replace("MARK", mark).replace("WITHIN", str(CODE_WITHIN))
    inner = ["/bin/sh", "-c", search, first]
    return Command(shlex.join([*escalate(become, prompt, inner)]), mark.encode(), prompt)


def escalate(become: Escalation | None, prompt: str, inner: list[str]) -> list[str]:
    """A command line that runs `inner` as the wanted user. Raises BecomeFailed for an unknown method."""
    if become is None:
        return inner
    program = become.program or become.method
    if become.method == "sudo":
        flags = shlex.split(become.flags) if become.flags is not None else ["-H", "-S"]
        if become.password is None:
            flags = [*flags, "-n"]
        elif "-n" in flags:
            flags.remove("-n")
        return [program, *flags, "-p", prompt, "-u", become.user, "--", *inner]
    if become.method == "doas":
        return [program, *shlex.split(become.flags or "-n"), "-u", become.user, *inner]
    if become.method == "su":
        return [program, *shlex.split(become.flags or ""), become.user, "-s", "/bin/sh", "-c", shlex.join(inner)]
    raise BecomeFailed(f"become method {become.method!r} is not known", hint="use sudo, su or doas")


class Greeting:
    """Waits for the hello of one started command, answering the password prompt on its way."""

    def __init__(self, host: str, stream: Stream, command: Command, become: Escalation | None) -> None:
        self._host = host
        self._stream = stream
        self._command = command
        self._become = become
        self._asked = False
        self._decoder = protocol.Decoder(command.mark)

    def wait(self, interpreter: str | None) -> Hello:
        """The agent's hello. Raises InterpreterMissing, BecomeFailed, ConnectionLost or ProtocolError."""
        deadline = time.monotonic() + HELLO_WITHIN
        password = self._become is not None and self._become.password is not None
        while True:
            try:
                data = self._stream.receive(PROMPT_POLL if password else 1.0)
            except TimeoutError:
                data = None
            if password:
                self._answer_prompt()
            if data == b"":
                raise self._ended()
            for _, _, _, payload in self._decoder.feed(data or b""):
                return self._parse(payload, interpreter)
            if time.monotonic() > deadline:
                raise self._silent()

    def _answer_prompt(self) -> None:
        asked = self._stream.errors().count(self._command.prompt)
        if asked > 1:
            raise BecomeFailed(f"{self._who()}: the become password was refused", hint="give it with -K, or check it")
        if asked == 1 and not self._asked and self._become is not None:
            self._asked = True
            self._stream.send(f"{self._become.password}\n".encode())

    def _who(self) -> str:
        if self._become is None:
            return self._host
        return f"{self._host}: {self._become.method} to {self._become.user}"

    def _parse(self, payload: bytes, interpreter: str | None) -> Hello:
        if not payload:
            tried = interpreter or ", ".join(CANDIDATES)
            raise InterpreterMissing(
                f"{self._host}: no Python 3.{OLDEST[1]} or newer was found; tried {tried}",
                hint="set ansible_python_interpreter, or install one with the raw module: "
                f"opsplay exec {self._host} -m raw -a 'apt-get install -y python3-minimal'",
            )
        words = payload.decode("ascii", "replace").split()
        version = tuple(int(part) for part in words[1].split("."))
        if version < OLDEST:
            raise InterpreterMissing(
                f"{self._host}: Python {words[1]} is too old, 3.{OLDEST[1]} is the oldest that is supported",
                hint="set ansible_python_interpreter to a newer one",
            )
        return Hello(words[0], version, int(words[2]), int(words[3]))

    def _ended(self) -> Exception:
        said = " ".join((self._decoder.noise.decode("utf-8", "replace") + " " + self._stream.errors()).split())
        said = said.replace(self._command.prompt, "").strip()
        if self._become is not None:
            hint = None
            if "password is required" in said or "a terminal is required" in said:
                hint = "give the password with -K (--ask-become-pass) or ansible_become_password"
            return BecomeFailed(f"{self._who()} failed: {said or 'it ended without a word'}", hint=hint)
        return ConnectionLost(f"{self._host}: the shell ended before the agent started: {said or 'without a word'}")

    def _silent(self) -> Exception:
        if self._become is not None:
            return BecomeFailed(f"{self._who()}: no answer within {HELLO_WITHIN:g} s")
        noise = json.dumps(self._decoder.noise[-200:].decode("utf-8", "replace"))
        return ProtocolError(
            f"{self._host}: the agent did not answer within {HELLO_WITHIN:g} s; the shell said {noise}"
        )
