"""Download a file from an HTTP, HTTPS or FTP server to the host."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, NoReturn, Optional

from opsplay.agent import web
from opsplay.agent.host import Host, Stream
from opsplay.agent.permissions import describe, settle
from opsplay.agent.spec import Bool, Params, Path, Str
from opsplay.modules.network import _checksums
from opsplay.modules.network._http import length_said, name_in, options_of, receive, request_params, seconds_since

PARAMS = dict(
    request_params("username", "password", 10),
    dest=Path(required=True, help="Where the file goes; a directory keeps the name that the server gives"),
    checksum=Str(default="", help="algorithm:value, or algorithm:URL of a file of checksums, that the file must have"),
    backup=Bool(default=False, help="Keep a dated copy of a file that is replaced"),
    tmp_dest=Path(help="The directory in which the download is kept until it is complete; dest's own without it"),
)
# A preview asks the server as a run does, and reads the body only where nothing else tells whether the file differs.
CHECK = "exact"


def run(host: Host, params: Params) -> Dict[str, Any]:
    return Download(host, params).run()


class Download:
    """One run of the module."""

    def __init__(self, host: Host, params: Params) -> None:
        self.host = host
        self.params = params
        self.options = options_of(host, params)
        self.dest = host.expand(params.dest)
        self.into_directory = host.is_directory(self.dest)
        self.started = time.monotonic()
        self.algorithm = self.checksum = ""

    def run(self) -> Dict[str, Any]:
        host, params = self.host, self.params
        folder = self.dest if self.into_directory or params.dest.endswith("/") else os.path.dirname(self.dest)
        if not host.is_directory(folder):
            self.fail("Destination %s does not exist" % folder)
        try:
            self.algorithm, self.checksum = _checksums.expected(params.checksum, params.url, self.text_at)
        except (ValueError, web.Unreachable) as problem:
            self.fail(str(problem))
        modified = None
        there = None if self.into_directory else host.stat(self.dest, follow=True)
        self.options.force = params.force
        if there and self.checksum and not params.force:
            if self.digest_here(self.algorithm) == self.checksum:
                return self.unchanged("file already exists")
            # A file that is not what it should be may be newer than the server's.
            self.options.force = True
        elif there and not params.force:
            modified = there.st_mtime
        try:
            with self.get(params.url, modified) as answer:
                return self.take(answer)
        except web.Unreachable as problem:
            if host.check and host.shadow.brings_unknown_files:
                return self.foretold(str(problem))
            self.fail(str(problem))
        except ValueError as problem:
            self.fail("%s: %s" % (problem, params.url))

    def get(self, url: str, modified: Optional[float] = None) -> web.Answer:
        headers = dict(self.params.headers)
        if modified is not None:
            from email.utils import formatdate

            headers["If-Modified-Since"] = formatdate(modified, usegmt=True)
        return web.request(self.options, url, "GET", headers)

    def text_at(self, url: str) -> str:
        """The text of a file of checksums. Raises web.Unreachable."""
        with self.get(url) as answer:
            if answer.status >= 400:
                raise web.Unreachable("cannot get the checksums: HTTP %d %s: %s" % (answer.status, answer.reason, url))
            return b"".join(answer.chunks()).decode("utf-8", "replace")

    def take(self, answer: web.Answer) -> Dict[str, Any]:
        """Make of the answer what it is: nothing new, a failure, or the file."""
        if answer.status == 304:
            return self.unchanged("HTTP Error 304: Not Modified", status_code=304)
        if answer.status >= 400:
            said = "HTTP Error %d: %s" % (answer.status, answer.reason)
            self.fail("Request failed: " + said, status_code=answer.status, response=said)
        if self.into_directory:
            self.dest = os.path.join(self.dest, name_in(answer))
        shown = {"status_code": answer.status, "url": answer.url, "msg": length_said(answer)}
        if self.host.check and self.surely_differs(answer):
            self.write(Stream(answer.size or 0, answer.chunks))
        else:
            shown.update(self.save(answer))
        return self.outcome(**shown)

    def foretold(self, problem: str) -> Dict[str, Any]:
        """In a preview: the server may be one that an earlier task would start."""
        self.host.warn("%s; whether the file differs is known when earlier tasks have run" % problem)
        if self.into_directory:
            self.dest = os.path.join(self.dest, _checksums.file_name(self.params.url) or "index.html")
        self.write(Stream(-1, lambda: iter(())))
        return self.outcome(url=self.params.url)

    def surely_differs(self, answer: web.Answer) -> bool:
        """Whether no body needs to be read to know that the file would change."""
        found = self.host.stat(self.dest, follow=True)
        return found is None or (answer.size is not None and not answer.is_packed and answer.size != found.st_size)

    def save(self, answer: web.Answer) -> Dict[str, Any]:
        """Receive the file, prove it, put it into place when it is another. Returns its checksums."""
        host, params = self.host, self.params
        folder = host.expand(params.tmp_dest) if params.tmp_dest else os.path.dirname(self.dest)
        if not host.is_directory(folder):
            self.fail("%s is not a directory" % folder)
        hashes = _checksums.available("sha1", "md5", self.algorithm)
        with host.staged(os.path.join(folder, os.path.basename(self.dest)), *hashes) as new:
            receive(host, answer, new)
            if self.checksum and new.digest(self.algorithm) != self.checksum:
                hint = "The checksum for %s did not match %s; it was %s."
                self.fail(hint % (answer.url, self.checksum, new.digest(self.algorithm)))
            here, sha1 = self.digest_here("sha1"), new.digest("sha1")
            shown = {"checksum_src": sha1, "checksum_dest": here, "src": new.path}
            if here != sha1:
                self.write(new)
            return dict(shown, md5sum=new.digest("md5") if "md5" in hashes else None)

    def write(self, content: Any) -> None:
        params = self.params
        owner, group = params.owner, params.group
        self.host.write(self.dest, content, params.mode, owner, group, params.backup, in_place=params.unsafe_writes)

    def digest_here(self, algorithm: str) -> Optional[str]:
        """The hash of the file that is there; None when there is none, or a preview cannot know it."""
        try:
            return self.host.digest(self.dest, algorithm)
        except OSError:
            return None

    def unchanged(self, message: str, **data: Any) -> Dict[str, Any]:
        return self.outcome(msg=message, **dict({"url": self.params.url}, **data))

    def outcome(self, **data: Any) -> Dict[str, Any]:
        host = self.host
        settle(host, self.dest, self.params)
        if host.backup_file:
            data["backup_file"] = host.backup_file
        data.update(describe(host, self.dest), dest=self.dest, elapsed=seconds_since(self.started))
        return host.outcome(**data)

    def fail(self, message: str, **data: Any) -> NoReturn:
        self.host.fail(message, url=self.params.url, dest=self.dest, elapsed=seconds_since(self.started), **data)
