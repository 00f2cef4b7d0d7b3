"""Give a part of a backup set that a program wrote back to a program, on its standard input.

The set is compared with its manifest first. What is encrypted is decrypted on its way: the plain text is on no disk.
What the program replaces is its own affair: make a set of the state as it is before (type `emergency`).
"""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent import backups, chain, confirmation, pipeline, signatures
from opsplay.agent.cipher import KEY, Decipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed, Program, Tap
from opsplay.agent.signatures import SIGNED_BY
from opsplay.agent.spec import Dict as Mapping
from opsplay.agent.spec import List, Name, Params, Path, Str
from opsplay.modules.backup._stream import KIND, SUFFIX
from opsplay.modules.backup._unpacking import found_in

PARAMS = dict(
    {
        "src": Path(required=True, help="The set's folder, or `latest` of its name"),
        "part": Name(required=True, help="The part: one of `programs` of backup_set"),
        "argv": List(of=Str(), split=False, required=True, help="The program that takes it, such as [mongorestore, "
                     "--archive, --drop]"),
        "environment": Mapping(of=Str(), default={}, secret=True, help="Variables for the program, such as a password"),
        "signed_by": SIGNED_BY,
        "confirm": confirmation.parameter("restore PART"),
    },
    **KEY,
)  # fmt: skip
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    try:
        backup = backups.load(host.expand(params.src))
    except backups.Unreadable as problem:
        if host.check and host.is_directory(params.src):
            # An earlier task of the preview would have fetched it.
            host.note("", "%s\n" % params.part, "standard input of %s" % params.argv[0])
            return host.outcome(part=params.part)
        host.fail(str(problem))
    signatures.require(host, backup, params.signed_by)
    problems = chain.damage(host, backup)
    if problems:
        host.fail("the set is refused: %s; nothing was changed" % "; ".join(problems))
    source = file_of(host, backup, params.part)
    if host.which(params.argv[0]) is None and not (host.check and host.shadow.brings_unknown_files):
        host.fail("there is no program %s on this host" % params.argv[0])
    confirmation.require(host, params.confirm, "restore %s" % params.part)
    host.note("", "%s of the set %s\n" % (params.part, backup.stamp), "standard input of %s" % params.argv[0])
    if host.check:
        host.unknown("bytes")
        return host.outcome(part=params.part, folder=backup.folder)
    return host.outcome(part=params.part, folder=backup.folder, bytes=give(host, params, backup, source))


def file_of(host: Host, backup: backups.Backup, name: str) -> str:
    """The path of a part's file. Fails for what is no such part."""
    there = [part["name"] for part in backup.data.get("parts", []) if part["kind"] == KIND]
    if name not in there:
        known = ", ".join(there) or "none"
        host.fail("the set %s has no part %s that a program wrote; it has %s" % (backup.stamp, name, known))
    return found_in(backup, name + SUFFIX)


def give(host: Host, params: Params, backup: backups.Backup, source: str) -> int:
    """Let the program read the part. Returns how many bytes it was given."""
    program, plain = Program(params.argv, dict(params.environment)), Tap(hashed=False)
    text = "giving %s to %s" % (params.part, program.name)
    encryption = backup.data.get("encryption")
    try:
        if not encryption:
            pipeline.from_file(host, source, [plain, program], text)
            return plain.size
        if not params.key:
            host.fail("the set %s is encrypted by %s; give its key" % (backup.stamp, encryption["method"]))
        with Decipher(host, encryption["method"], params.key, params.key_passphrase or "") as key:
            pipeline.from_file(host, source, [key.program(), plain, program], text)
        return plain.size
    except Failed as problem:
        host.fail("%s was not restored, or not all of it: %s" % (params.part, problem))
