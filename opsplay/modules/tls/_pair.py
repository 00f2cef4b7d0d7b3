"""A certificate and its key in two files: what is there, and how they are replaced so that they always go together."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional

from opsplay.agent import files
from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import Params
from opsplay.modules.tls import _issuing, _openssl
from opsplay.modules.tls._verdict import short, uncovered, weaknesses
from opsplay.modules.tls._x509 import Certificate, certificates_in, iso, key_kind

# How long (s) an interruption waits for two renames.
SWAP_SECONDS = 20


class Pair:
    """The two files. `look` finds out what they hold."""

    def __init__(self, host: Host, path: str, key_path: str) -> None:
        self.host = host
        self.path = path
        self.key_path = key_path
        self.certificate: Optional[Certificate] = None
        self.chain: List[Certificate] = []
        self.key: Optional[bytes] = None
        self.public: Optional[bytes] = None
        # Why the files cannot be used; and what there is that is neither a certificate nor a key.
        self.problem = self.key_problem = self.foreign = ""
        self.is_absent = self.is_pretended = False

    def look(self) -> None:
        """Read both files. Fails when one cannot be read, or is no file."""
        for path in (self.path, self.key_path):
            if self.host.is_directory(path):
                self.host.fail("%s is a directory, not a file" % path, path=path)
        if self.host.check and any(self.host.exists(p) and not self.host.knows(p) for p in (self.path, self.key_path)):
            self.is_pretended = True
            return
        text = self._read(self.path)
        self.is_absent = text is None
        self.problem = "there is none"
        if text is not None:
            self._parse(text.decode("latin-1"))
        self.key = self._read(self.key_path)
        self.key_problem = "its key %s is missing" % self.key_path
        if self.key is not None:
            self._look_at_key(self.key)

    def _read(self, path: str) -> Optional[bytes]:
        try:
            return self.host.read(path)
        except FileNotFoundError:
            return None
        except OSError as problem:
            self.host.fail("cannot read %s: %s" % (path, problem.strerror), path=path)

    def _parse(self, text: str) -> None:
        try:
            self.chain = certificates_in(text)
        except ValueError as problem:
            self.problem = str(problem)
            return
        if self.chain:
            self.certificate, self.problem = self.chain[0], ""
        elif text.strip():
            self.foreign = "%s holds something else than a certificate in PEM form" % self.path
        else:
            self.problem = "the file is empty"

    def _look_at_key(self, key: bytes) -> None:
        if not key.strip():
            self.key_problem = "its key %s is empty" % self.key_path
            return
        try:
            self.public, self.key_problem = _openssl.public_key(self.host, key), ""
        except ValueError as problem:
            self.key_problem = "its key %s is of no use: %s" % (self.key_path, problem)
            # Somebody's secret, or no key at all: not ours to replace.
            if b"ENCRYPTED" in key or b"PRIVATE KEY-----" not in key:
                self.foreign = "%s holds something else than a key that can be read: %s" % (self.key_path, problem)

    # --- what is wrong with it ---

    def mismatch(self, request: Any) -> str:
        """Why key and certificate are of no use for these names; empty when they are."""
        if self.certificate is None:
            return self.problem
        if self.key_problem:
            return self.key_problem
        if self.public != self.certificate.key:
            return "the key %s belongs to another certificate" % self.key_path
        missing = [] if request.is_ca else uncovered(self.certificate, request.names)
        return "it is not for %s" % ", ".join(missing) if missing else ""

    def flaw(self, request: Any, wants_issuer: bool, issuer: Optional[Any]) -> str:
        """Why a certificate that has not expired is of no use all the same; empty when it is fine."""
        found = self.certificate
        assert found is not None
        problem = self.mismatch(request) or "; ".join(weaknesses(found))
        if problem:
            return problem
        if found.not_before > time.time():
            return "it is not valid before %s" % iso(found.not_before)
        if found.is_ca != request.is_ca:
            return "it is %s certificate of a CA" % ("a" if found.is_ca else "no")
        if wants_issuer and found.is_self_signed:
            return "it is self-signed"
        if issuer is not None and _openssl.verify(self.host, self.chain, issuer.chain, partial=True):
            return "its issuer %s has another key now" % found.issuer
        return ""

    # --- replacing it ---

    def replace(self, params: Params, request: Any, issuer: Optional[Any]) -> None:
        """Put a new certificate in place, with a new key only where there must be one."""
        host = self.host
        keeps_key = self.public is not None and not params.new_key and not self._is_weak()
        for folder in {os.path.dirname(self.path), os.path.dirname(self.key_path)}:
            if not host.is_directory(folder) and not (host.check and host.shadow.brings_unknown_files):
                host.fail("the folder %s does not exist; make it with the file module first" % folder, path=folder)
        self._note(params, request, keeps_key)
        modes = self._modes(params, keeps_key)
        if host.check:
            self._pretend(params, modes, keeps_key)
            return
        shows, host.want_diff = host.want_diff, False
        folder = host.temporary.folder(os.path.dirname(self.key_path))
        try:
            key = self.key if keeps_key and self.key is not None else _issuing.new_key(host, params.key_type)
            text = _issuing.new_certificate(host, folder, request, key, issuer)
            self._prove(text, key)
            self._keep_old(params, keeps_key)
            self._install(params, text, None if keeps_key else key, modes)
        finally:
            host.temporary.discard(folder)
            host.want_diff = shows
        self.certificate = certificates_in(text)[0]
        self.key, self.public = key, self.certificate.key

    def _is_weak(self) -> bool:
        kind, bits, _ = key_kind(self.public or b"")
        return bool(short(kind, bits))

    def _note(self, params: Params, request: Any, keeps_key: bool) -> None:
        """What is shown of the change: no key is ever in a difference."""
        before = ""
        if self.certificate is not None:
            old = self.certificate
            shown = (old.subject, old.issuer, ", ".join(old.names), iso(old.not_after))
            before = "subject %s\nissuer %s\nnames %s\nuntil %s\n" % shown
        by = params.issuer_cert or "itself"
        after = "subject CN=%s\nissuer %s\nnames %s\nfor %d days\n" % (
            request.cn, by, ", ".join(request.names), request.days,
        )  # fmt: skip
        self.host.note(before, after, self.path)
        if not keeps_key:
            self.host.note(
                "a key\n" if self.key is not None else "", "a new key, %s\n" % params.key_type, self.key_path
            )

    def _modes(self, params: Params, keeps_key: bool) -> Dict[str, Any]:
        """The permission bits that each file is made with. A link is replaced by a file: its target's do not count."""
        modes = {}
        for path, wanted, usual in ((self.path, params.mode, 0o644), (self.key_path, params.key_mode, 0o600)):
            there = self.host.stat(path)
            is_new = there is None or self.host.link_target(path) is not None
            modes[path] = wanted if wanted is not None else usual if is_new else None
        return modes

    def _pretend(self, params: Params, modes: Dict[str, Any], keeps_key: bool) -> None:
        host = self.host
        host.changed = True
        for path in [self.path] + ([] if keeps_key else [self.key_path]):
            before = host.stat(path)
            uid, gid = host.owner_ids(params.owner, params.group, before)
            current = before.st_mode & 0o7777 if before is not None else 0o644
            bits = current if modes[path] is None else files.apply_mode(modes[path], current, False)
            host.pretend_unknown(path, bits, uid, gid)

    def _prove(self, text: str, key: bytes) -> None:
        """What openssl has made is looked at before it is used."""
        made = certificates_in(text)[0]
        if made.key != _openssl.public_key(self.host, key):
            self.host.fail("openssl has made a certificate for another key: nothing was changed")

    def _keep_old(self, params: Params, keeps_key: bool) -> None:
        if not params.keep_old:
            return
        date = time.strftime("%Y-%m-%d", time.gmtime())
        for path in [self.path] + ([] if keeps_key else [self.key_path]):
            if self.host.exists(path):
                content, found = self.host.read(path), os.stat(path)
                copy = free_name(self.host, "%s.%s" % (path, date), content)
                bits = 0o600 if path == self.key_path else 0o644
                self.host.write(copy, content, mode=bits, owner=found.st_uid, group=found.st_gid)

    def _install(self, params: Params, text: str, key: Optional[bytes], modes: Dict[str, Any]) -> None:
        """The key first, if it is a new one, and back again when the certificate cannot follow."""
        host = self.host
        ownership = {"owner": params.owner, "group": params.group}
        with host.critical(SWAP_SECONDS):
            before = self._as_it_is(self.key_path)
            if key is not None:
                host.write(self.key_path, key, mode=modes[self.key_path], **ownership)
            try:
                host.write(self.path, text, mode=modes[self.path], **ownership)
            except ModuleFailed:
                if key is not None:
                    self._take_back(self.key_path, before)
                raise

    def _as_it_is(self, path: str) -> Any:
        found = self.host.stat(path)
        target = self.host.link_target(path)
        return None if found is None else (target, found, None if target is not None else self.host.read(path))

    def _take_back(self, path: str, before: Any) -> None:
        if before is None:
            self.host.remove(path)
            return
        target, found, content = before
        if target is not None:
            self.host.link(path, target)
        else:
            self.host.write(path, content, mode=found.st_mode & 0o7777, owner=found.st_uid, group=found.st_gid)

    def set_permissions(self, params: Params) -> None:
        """Owner and mode as asked; a key that everybody may read is worth a warning."""
        host = self.host
        host.permissions(self.path, params.mode, params.owner, params.group, follow=True)
        host.permissions(self.key_path, params.key_mode, params.owner, params.group, follow=True)
        found = host.stat(self.key_path, follow=True)
        if found is not None and found.st_mode & 0o004:
            host.warn("everybody on this host may read the private key %s; set key_mode" % self.key_path)

    def described(self) -> Dict[str, Any]:
        return self.certificate.described() if self.certificate is not None else {}


def free_name(host: Host, name: str, content: bytes) -> str:
    """This name, or with a number behind it where it is taken by something else."""
    path, number = name, 1
    while host.exists(path) and host.read(path) != content:
        number += 1
        path = "%s-%d" % (name, number)
    return path
