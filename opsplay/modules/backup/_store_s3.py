"""A store that speaks S3: objects that are added, proven by a checksum of the endpoint's own, and never removed."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Optional

from opsplay.agent.aws import Answer
from opsplay.agent.aws_signature import Key, NoKey, key_of
from opsplay.agent.host import Host
from opsplay.modules.backup._s3_address import Address
from opsplay.modules.backup._s3_client import Bucket, Refused, children
from opsplay.modules.backup._s3_upload import CHECKSUM, Slice, Upload, based, composite, create
from opsplay.modules.backup._store import Store, StoreError

MANIFEST = "manifest.json"
REMEDY = "nothing is overwritten: the bucket's owner has to remove it"


class S3Store(Store):
    """A bucket. `dest` holds the parameters of offsite_sync that are about it. Fails where some of them lack."""

    def __init__(self, host: Host, dest: Any) -> None:
        self._host = host
        self._dest = dest
        self._prefix = dest.prefix.strip("/")
        self._part_size = int(dest.part_size) << 20
        # The checksums of what was sent in parts just now, by path.
        self._composites: Dict[str, str] = {}
        self.place = "s3://" + "/".join(part for part in (dest.bucket, self._prefix) if part)

    def __enter__(self) -> "S3Store":
        dest = self._dest
        address = Address(dest.endpoint or "", dest.bucket, dest.region, dest.addressing)
        if not address.secure:
            self._host.warn("%s has no TLS: whoever is on the way can read what is not encrypted itself" % address.url)
        self._client = Bucket(address, self._key(), dest.region, self._ca_file(), dest.timeout, dest.retries)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._client.close()

    def sets(self, name: str) -> List[Dict[str, Any]]:
        import json

        found = []
        for stamp in self._stamps(name):
            try:
                where = self._name("%s/%s/%s" % (name, stamp, MANIFEST))
                data = self._client.ask("GET", where, "s3:GetObject").body
                found.append({"stamp": stamp, "manifest": json.loads(data.decode())})
            except Refused as problem:
                # Without its manifest a set is not whole; without the right to read it nobody knows.
                if problem.status != 404:
                    raise
            except ValueError:
                continue
        return found

    def put(self, path: str, source: str, sha256: str, size: int, told: Callable[[int], None]) -> bool:
        name = self._name(path)
        if self._head(name) is not None:
            return False
        try:
            if size > self._part_size:
                upload = Upload(self._client, name, source, size, self._part_size, told)
                self._composites[path] = upload.run(sha256)
            else:
                headers = {CHECKSUM: based(bytes.fromhex(sha256)), "x-amz-sdk-checksum-algorithm": "SHA256"}
                body = Slice(source, 0, size, sha256, told)
                create(lambda more: self._client.ask("PUT", name, "s3:PutObject", (), dict(headers, **more), body))
        except Refused as problem:
            # It has come there meanwhile: by the answer to this very request that was lost, or by somebody else.
            if problem.status != 412 and not (problem.code == "NoSuchUpload" and self._head(name) is not None):
                raise
        return True

    def prove(self, path: str, source: str, sha256: str, size: int) -> None:
        name = self._name(path)
        there = self._head(name)
        if there is None:
            raise StoreError("%s is not there, although it was sent" % path)
        length = int(there.headers.get("content-length") or 0)
        if length != size:
            raise StoreError("%s differs over there: it has %d bytes, not %d; %s" % (path, length, size, REMEDY))
        if self._dest.proof == "checksum" and self._has_checksum(there, path, source, sha256, size):
            return
        found = self._read_back(path)
        if found != sha256:
            raise StoreError("%s differs over there: what came back has the sha256 %s; %s" % (path, found, REMEDY))

    def digest(self, path: str) -> Optional[str]:
        return None if self._head(self._name(path)) is None else self._read_back(path)

    def get(self, path: str) -> Iterator[bytes]:
        return self._client.stream(self._name(path), "s3:GetObject")

    # --- what is there ---

    def _stamps(self, name: str) -> List[str]:
        """What lies below a name, as folders are called there."""
        above = self._name(name) + "/"
        query = [("list-type", "2"), ("delimiter", "/"), ("prefix", above)]
        found: List[str] = []
        more: List[Any] = []
        while True:
            page = self._client.page("GET", "", "s3:ListBucket", query + more)
            found += [prefix[len(above) :].rstrip("/") for (prefix,) in children(page, "CommonPrefixes", "Prefix")]
            token = page.findtext("NextContinuationToken")
            if page.findtext("IsTruncated") != "true" or not token:
                return sorted(found)
            more = [("continuation-token", token)]

    def _head(self, name: str) -> Optional[Answer]:
        """What is said of an object; None when it is not there."""
        try:
            headers = {"x-amz-checksum-mode": "ENABLED"}
            return self._client.ask("HEAD", name, "s3:GetObject and s3:ListBucket", (), headers)
        except Refused as problem:
            if problem.status == 404:
                return None
            raise

    def _has_checksum(self, there: Answer, path: str, source: str, sha256: str, size: int) -> bool:
        """Whether the endpoint's checksum is that of the file: of the whole, or of its parts."""
        said = there.headers.get(CHECKSUM, "").partition("-")[0]
        if not said:
            return False
        if said == based(bytes.fromhex(sha256)):
            return True
        if size > self._part_size and path not in self._composites:
            self._composites[path] = composite(source, size, self._part_size, sha256)
        # Another checksum may be one over parts of another size: what comes back decides.
        return said == self._composites.get(path)

    def _read_back(self, path: str) -> str:
        import hashlib

        found, read = hashlib.sha256(), 0
        for piece in self.get(path):
            found.update(piece)
            read += len(piece)
            self._host.progress("reading %s back" % path, read)
        return found.hexdigest()

    # --- the way there ---

    def _name(self, path: str) -> str:
        return "%s/%s" % (self._prefix, path) if self._prefix else path

    def _ca_file(self) -> str:
        return self._host.expand(self._dest.ca_file) if self._dest.ca_file else ""

    def _key(self) -> Key:
        dest = self._dest
        if dest.credentials:
            try:
                return key_of(self._host.expand(dest.credentials))
            except NoKey as problem:
                raise StoreError(str(problem)) from None
        if not dest.access_key or not dest.secret_key:
            self._host.fail("give access_key and secret_key, or credentials (a file on this host that holds them)")
        return Key(dest.access_key, dest.secret_key, dest.session_token or "")
