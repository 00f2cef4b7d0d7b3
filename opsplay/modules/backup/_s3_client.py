"""Requests to a bucket: whole answers, and contents that flow and go on where a connection broke."""

from __future__ import annotations

from typing import Any, Iterator, List, Mapping, Tuple

from opsplay.agent.aws import Answer, Body, Client
from opsplay.agent.aws_endpoint import broken
from opsplay.modules.backup._s3_words import explained
from opsplay.modules.backup._store import StoreError

PIECE = 256 << 10


class Refused(StoreError):
    """The endpoint said no: with which status, and with which of S3's codes (empty where there was none)."""

    def __init__(self, message: str, status: int, code: str) -> None:
        StoreError.__init__(self, message)
        self.status = status
        self.code = code


class Bucket(Client):
    """One bucket at its address. Raises StoreError, and Refused where the endpoint says no."""

    service = "s3"
    speaks = "S3"
    _endpoint: Any

    def path(self, name: str) -> str:
        found: str = self._endpoint.path(name)
        return found

    def called(self, name: str) -> str:
        return name or "the bucket"

    def refused(self, answer: Answer, code: str, name: str, action: str) -> Exception:
        said = explained(answer, code, self._key.access, self._endpoint, name, action)
        return Refused(said, answer.status, code)

    def stream(self, name: str, action: str) -> Iterator[bytes]:
        """An object's content in pieces. A transfer that breaks goes on where it broke. Raises as `ask` does."""
        at, size, tag = 0, -1, ""
        for left in range(self._retries, -1, -1):
            headers = {"Range": "bytes=%d-" % at, "If-Match": tag} if at else {}
            response = self.patiently(lambda: self._opened(name, action, headers), name)  # noqa: B023
            if size < 0:
                size, tag = int(response.getheader("Content-Length")), response.getheader("ETag") or ""
            elif at and response.status != 206:
                raise StoreError("%s: the connection broke, and the endpoint cannot go on in the middle" % name)
            try:
                while at < size:
                    piece = response.read(PIECE)
                    if not piece:
                        break
                    at += len(piece)
                    yield piece
            except broken() as problem:
                if not left:
                    raise StoreError("%s: the connection broke after %d bytes: %s" % (name, at, problem)) from None
            finally:
                if at < size or response.will_close:
                    self.close()
            if at >= size:
                return
        raise StoreError("%s: the connection ended after %d of %d bytes" % (name, at, size))

    def _opened(self, name: str, action: str, headers: Mapping[str, str]) -> Any:
        response = self.exchange("GET", name, (), headers, Body.of(b""))
        if response.status not in (200, 206) or not (response.getheader("Content-Length") or "").isdigit():
            raise self.refusal(self.read(response), name, action)
        return response


def children(root: Any, tag: str, *names: str) -> List[Tuple[str, ...]]:
    """Of each element `tag` below the root the texts of its parts, empty where it lacks one."""
    return [tuple(element.findtext(name) or "" for name in names) for element in root.findall(tag)]
