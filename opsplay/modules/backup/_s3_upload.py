"""A large file on its way into a bucket: in parts, and on from the parts that an interrupted sending has left there.

POST ?uploads          begins; the endpoint is to take the sha256 of each part, and of all of them together
PUT ?partNumber=…      a part, read twice: for its hash, which is signed, and to be sent
GET ?uploadId=…        the parts that are there, with their checksums
POST ?uploadId=…       makes the object of them, unless one bears its name
DELETE ?uploadId=…     gives the parts up: the one request of this kind that is ever made
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from opsplay.agent.aws import Body
from opsplay.modules.backup._s3_client import PIECE, Bucket, Refused, children
from opsplay.modules.backup._store import StoreError

CHECKSUM = "x-amz-checksum-sha256"
# S3 takes at most so many parts of one object.
PARTS_MOST = 10000


class Slice(Body):
    """A part of a file."""

    def __init__(
        self, source: str, start: int, size: int, sha256: str, told: Optional[Callable[[int], None]] = None
    ) -> None:
        self._source = source
        self._start = start
        self._told = told
        Body.__init__(self, size, sha256, self._pieces)

    def _pieces(self) -> Iterator[bytes]:
        at, end = self._start, self._start + self.size
        with self._opened() as file:
            file.seek(at)
            while at < end:
                piece = file.read(min(PIECE, end - at))
                if not piece:
                    return
                yield piece
                at += len(piece)
                if self._told is not None:
                    self._told(at)

    def _opened(self) -> Any:
        try:
            return open(os.open(self._source, os.O_RDONLY | os.O_CLOEXEC), "rb", 0)
        except OSError as problem:
            raise StoreError("%s cannot be read: %s" % (self._source, problem.strerror)) from None


class Upload:
    """One file, sent in parts. `told` is called with the number of its bytes that are over there."""

    def __init__(
        self, client: Bucket, name: str, source: str, size: int, part_size: int, told: Callable[[int], None]
    ) -> None:
        self._client = client
        self._name = name
        self._source = source
        self._size = size
        self._part_size = part_size
        self._told = told
        self._id = ""

    def run(self, sha256: str) -> str:
        """Send what is not there, and make the object of it. Returns the checksum over all parts, in base64.

        Raises StoreError, with nothing under the object's name, also when the file is no longer that of `sha256`.
        """
        import hashlib

        there = self._resumed() or self._begun()
        whole, all_parts, parts = hashlib.sha256(), hashlib.sha256(), []
        for number, (start, size) in enumerate(slices(self._size, self._part_size), 1):
            digest = hashed(self._source, start, size, whole)
            all_parts.update(digest)
            have = there.get(number)
            if have is None or not self._is_that(have, start, size, digest):
                have = self._send(number, start, size, digest)
            parts.append((number, have[1], have[2]))
            self._told(start + size)
        if whole.hexdigest() != sha256:
            self._give_up()
            raise StoreError("%s changed while it was sent" % self._source)
        self._complete(parts)
        return based(all_parts.digest())

    def _resumed(self) -> Dict[int, Tuple[int, str, str]]:
        """The parts of an upload that was interrupted: size, tag and checksum by number. Empty without one."""
        try:
            query = [("uploads", ""), ("prefix", self._name)]
            page = self._client.page("GET", "", "s3:ListBucketMultipartUploads", query)
            uploads = children(page, "Upload", "Key", "Initiated", "UploadId")
            found = [(initiated, upload) for name, initiated, upload in uploads if name == self._name]
            if not found:
                return {}
            self._id = max(found)[1]
            return self._parts()
        except Refused as problem:
            # Where it cannot be found out, the whole is sent.
            if problem.status not in (403, 404, 405, 501):
                raise
            self._id = ""
            return {}

    def _parts(self) -> Dict[int, Tuple[int, str, str]]:
        found: Dict[int, Tuple[int, str, str]] = {}
        marker = ""
        while True:
            query = [("uploadId", self._id)] + ([("part-number-marker", marker)] if marker else [])
            page = self._client.page("GET", self._name, "s3:ListMultipartUploadParts", query)
            for number, size, tag, checksum in children(page, "Part", "PartNumber", "Size", "ETag", "ChecksumSHA256"):
                found[int(number)] = (int(size), tag, checksum)
            marker = page.findtext("NextPartNumberMarker") or ""
            if page.findtext("IsTruncated") != "true" or not marker:
                return found

    def _begun(self) -> Dict[int, Tuple[int, str, str]]:
        if not self._id:
            headers = {"x-amz-checksum-algorithm": "SHA256"}
            page = self._client.page("POST", self._name, "s3:PutObject", [("uploads", "")], headers)
            self._id = page.findtext("UploadId") or ""
        return {}

    def _is_that(self, have: Tuple[int, str, str], start: int, size: int, digest: bytes) -> bool:
        """Whether a part over there is that of the file: by its checksum, by its tag where it has none."""
        if have[0] != size:
            return False
        return have[2] == based(digest) if have[2] else have[1].strip('"') == md5_of(self._source, start, size)

    def _send(self, number: int, start: int, size: int, digest: bytes) -> Tuple[int, str, str]:
        query = [("partNumber", str(number)), ("uploadId", self._id)]
        headers = {CHECKSUM: based(digest), "x-amz-sdk-checksum-algorithm": "SHA256"}
        body = Slice(self._source, start, size, digest.hex(), self._told)
        answer = self._client.ask("PUT", self._name, "s3:PutObject", query, headers, body)
        return size, answer.headers.get("etag", ""), answer.headers.get(CHECKSUM, "")

    def _complete(self, parts: List[Tuple[int, str, str]]) -> None:
        from xml.sax.saxutils import escape

        lines = ["<CompleteMultipartUpload>"]
        for number, tag, checksum in parts:
            proof = "<ChecksumSHA256>%s</ChecksumSHA256>" % escape(checksum) if checksum else ""
            lines.append("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>" % (number, escape(tag), proof))
        body = Body.of(("".join(lines) + "</CompleteMultipartUpload>").encode())
        query = [("uploadId", self._id)]
        try:
            create(lambda more: self._client.ask("POST", self._name, "s3:PutObject", query, more, body))
        except Refused as problem:
            if problem.status == 412:
                self._give_up()
            raise

    def _give_up(self) -> None:
        """Remove the parts of this upload; what cannot be removed the bucket's own rules do."""
        try:
            self._client.ask("DELETE", self._name, "s3:AbortMultipartUpload", [("uploadId", self._id)])
        except StoreError:
            pass


def create(ask: Callable[[Dict[str, str]], Any]) -> Any:
    """Make an object where there is none. An endpoint that does not know the condition was asked before."""
    try:
        return ask({"If-None-Match": "*"})
    except Refused as problem:
        if problem.status != 501:
            raise
    return ask({})


def slices(size: int, part_size: int) -> List[Tuple[int, int]]:
    """Where each part begins and how large it is; parts are larger where there would be too many."""
    part = max(part_size, -(-size // PARTS_MOST))
    return [(start, min(part, size - start)) for start in range(0, size, part)]


def hashed(source: str, start: int, size: int, whole: Any) -> bytes:
    """The sha256 of a part, which is counted into `whole`, too. Raises OSError."""
    import hashlib

    found = hashlib.sha256()
    for piece in Slice(source, start, size, "").pieces():
        found.update(piece)
        whole.update(piece)
    return found.digest()


def composite(source: str, size: int, part_size: int, sha256: str) -> str:
    """The checksum over all parts of a file, in base64. Raises StoreError when it is no longer that of `sha256`."""
    import hashlib

    whole, found = hashlib.sha256(), hashlib.sha256()
    for start, length in slices(size, part_size):
        found.update(hashed(source, start, length, whole))
    if whole.hexdigest() != sha256:
        raise StoreError("%s changed while it was looked at" % source)
    return based(found.digest())


def md5_of(source: str, start: int, size: int) -> str:
    """What endpoints without checksums give a part as its tag; empty where this host does not compute it."""
    import hashlib

    try:
        found = hashlib.md5()
    except ValueError:
        return ""
    for piece in Slice(source, start, size, "").pieces():
        found.update(piece)
    return found.hexdigest()


def based(digest: bytes) -> str:
    from base64 import b64encode

    return b64encode(digest).decode("ascii")
