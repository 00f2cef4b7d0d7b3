"""A stanza of pgBackRest made ready: declared where a repository is given, created, checked, backed up."""

from __future__ import annotations

import os
from typing import Any, Dict

from opsplay.agent.host import Host
from opsplay.agent.pipeline import Failed
from opsplay.modules.postgres import _pgbackrest, _psql


def ready(host: Host, params: Any, server: Any, stanza: Any, command: str) -> None:
    """Configuration and stanza are there. Fails, with the server as it was, where the repository cannot be used."""
    new = bool(params.repo) and _declare(host, params, stanza)
    try:
        trouble = stanza.trouble() if stanza.there else {_pgbackrest.MISSING: "missing"}
    except Failed as problem:
        host.fail("%s; the server is as it was" % problem)
    if not trouble:
        return
    words = "; ".join(trouble.values())
    if set(trouble) != {_pgbackrest.MISSING}:
        host.fail("%s cannot be used: %s; the server is as it was" % (stanza.place, words))
    if not new and _archives_to(server, command):
        # A new one in an empty mount point would hide the old one, and with it all backups.
        text = "%s has gone, and the server archives to it: %s; is its disk mounted? To begin anew run stanza-create"
        host.fail(text % (stanza.place, words))
    if params.repo:
        host.directory(host.expand(params.repo), mode=0o750, owner=stanza.cluster.owner)
    host.note("", "created\n", "pgBackRest's stanza %s" % stanza.name)
    if not host.check:
        try:
            stanza.act("stanza-create", "creating the stanza %s" % stanza.name)
        except Failed as problem:
            host.fail("%s; the server is as it was" % problem)


def _declare(host: Host, params: Any, stanza: Any) -> bool:
    """The stanza's own file; whether it leads to another repository than before."""
    repo, cluster = host.expand(params.repo), stanza.cluster
    path = os.path.join(_pgbackrest.FOLDER, "%s.conf" % stanza.name)
    if stanza.file not in ("", path):
        text = "repo: the stanza %s is configured in %s already; leave repo out, or the stanza there"
        host.fail(text % (stanza.name, stanza.file))
    lines = ["[%s]" % stanza.name, "pg1-path=%s" % cluster.data, "pg1-port=%d" % cluster.port,
             "pg1-socket-path=%s" % cluster.socket, "repo1-path=%s" % repo]  # fmt: skip
    lines += ["repo1-retention-full=%d" % params.retention] if params.retention else []
    host.directory(_pgbackrest.FOLDER)
    before = host.read(path).decode("utf-8", "replace").split("\n") if stanza.file else []
    host.write(path, "".join(line + "\n" for line in lines), mode=0o644)
    return lines[4] not in before


def _archives_to(server: Any, command: str) -> bool:
    with _psql.Psql(server) as db:
        return bool(db.value("SELECT current_setting('archive_command') AS c") == command)


def prove(host: Host, params: Any, stanza: Any) -> str:
    """Have a segment archived, and seen in the repository. Returns the name of the newest there."""
    try:
        stanza.act("check", "waiting for a segment in %s" % stanza.place, "--archive-timeout=%d" % params.wait)
        archives = stanza.info()["archive"]
    except Failed as problem:
        host.fail("%s; what the server writes is not archived" % problem)
    return str(max([archive["max"] or "" for archive in archives] or [""]))


def back_up(host: Host, params: Any, stanza: Any) -> Dict[str, Any]:
    """Make a backup, and what `info` says of it. Fails with the program's own words."""
    try:
        before = {base.folder for base in stanza.bases()}
        words = ["--type=%s" % params.type, "--start-fast" if params.fast else "--no-start-fast"]
        stanza.act("backup", "backing up to %s" % stanza.place, *words)
        made = [base for base in stanza.bases() if base.folder not in before]
        if not made:
            raise Failed("pgbackrest backup has ended well, but %s holds no new one" % stanza.place)
        if made[-1].data["base"]["error"]:
            raise Failed("the backup %s holds pages with a wrong checksum" % made[-1].folder)
    except Failed as problem:
        host.fail("%s; older backups are as they were" % problem)
    try:
        if params.verify:
            _verify(stanza)
    except Failed as problem:
        host.fail("the backup %s was made, but the repository is not proven: %s" % (made[-1].folder, problem))
    found, base = made[-1], dict(made[-1].data["base"])
    return {"label": found.folder, "type": base["type"], "size": base.pop("stored"), "started": found.data["started"],
            "finished": found.data["finished"], "base": base}  # fmt: skip


def _verify(stanza: Any) -> None:
    """Read all that the repository holds. It ends with 0 also where something is damaged. Raises Failed."""
    said = stanza.ask("verify", "--output=text")
    if "status: error" in said:
        raise Failed("pgbackrest verify: %s" % _pgbackrest.told(said))
