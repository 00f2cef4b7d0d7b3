"""An archive of a commit, made by git; it is written only when it differs."""

from __future__ import annotations

import os
from typing import Dict, List, Optional

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.spec import Params
from opsplay.modules.vcs._git import Git

FORMATS: Dict[str, str] = {".zip": "zip", ".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar": "tar"}


def make(host: Host, git: Git, params: Params, commit: Optional[str]) -> None:
    """See that the archive holds the commit. git writes the same bytes each time (git-archive(1))."""
    path = host.expand(params.archive)
    form = next((FORMATS[ending] for ending in FORMATS if path.endswith(ending)), None)
    if form is None:
        host.fail("the archive %s must end with one of %s" % (path, ", ".join(FORMATS)))
    words = ["archive", "--format", form]
    if params.archive_prefix:
        words.append("--prefix=" + params.archive_prefix)
    words.append(commit or "HEAD")
    if host.check:
        preview(host, git, words, path)
        return
    with host.staged(path) as new:
        new.close()
        git.must("cannot make the archive %s" % path, *words[:-1], "--output=" + new.path, words[-1])
        digest, size = host.digest(new.path, "sha256"), os.path.getsize(new.path)
        before = host.stat(path)
        if before is None or before.st_size != size or host.digest(path, "sha256") != digest:
            host.write(path, host.local_content(new.path))


def preview(host: Host, git: Git, words: List[str], path: str) -> None:
    """Compare without a file; a commit that is not fetched yet is taken to make another archive."""
    hasher = files.new_hash("sha256", files.SMALL + 1)
    done = git.query(*words, watch=hasher.update) if os.path.isdir(git.dest) else None
    if done is None or done.rc != 0 or not os.path.exists(path) or host.digest(path, "sha256") != hasher.hexdigest():
        host.note("", "archive of %s\n" % words[-1], path)
