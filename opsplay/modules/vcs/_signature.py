"""Whether a key that is known, and allowed, has signed what would be checked out."""

from __future__ import annotations

from typing import List

from opsplay.modules.vcs._git import Git, Target

VALID = "[GNUPG:] VALIDSIG "


def verify(git: Git, target: Target, commit: str, allowlist: List[str]) -> None:
    """Fail unless the annotated tag, or else the commit, has a good signature; an empty list allows every known key."""
    kind, name = ("tag", target.name) if is_annotated(git, target) else ("commit", commit)
    done = git.query("verify-" + kind, "--raw", name)
    if done.rc != 0:
        git.host.fail('Failed to verify GPG signature of %s "%s"' % (kind, name), stderr=done.stderr)
    # A line names the key that has signed first, and the primary key that it belongs to last.
    signers = [line[len(VALID) :].split() for line in done.stderr.split("\n") if line.startswith(VALID)]
    allowed = {fingerprint.replace(" ", "").upper() for fingerprint in allowlist}
    if allowed and not any(allowed & {words[0], words[-1]} for words in signers):
        git.host.fail('the key that signed %s "%s" is not in gpg_allowlist' % (kind, name), stderr=done.stderr)


def is_annotated(git: Git, target: Target) -> bool:
    """Whether it is a tag with a message, which may bear a signature of its own."""
    return target.kind == "tag" and git.query("cat-file", "-t", "refs/tags/" + target.name).stdout.strip() == "tag"
