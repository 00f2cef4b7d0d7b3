"""Requests to a bucket: signed, sent again where the endpoint had no time, and refused in plain words."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from opsplay.modules.backup._s3_address import Address
from opsplay.modules.backup._s3_signature import Key, query_string, signed
from opsplay.modules.backup._s3_words import explained, reason, seconds_behind
from opsplay.modules.backup._store import StoreError

PIECE = 256 << 10
# The largest answer that is read whole: a manifest, or a page of a listing.
ANSWER_MOST = 64 << 20
# What passes by itself, by status and by the code of the answer.
PASSING = (429, 500, 502, 503, 504)
PASSING_CODES = ("SlowDown", "RequestTimeout", "InternalError", "ConditionalRequestConflict", "OperationAborted")
# Seconds before the first repetition; each further one waits twice as long, up to the most.
PAUSE_FIRST, PAUSE_MOST = 0.5, 20.0


class Refused(StoreError):
    """The endpoint said no: with which status, and with which of S3's codes (empty where there was none)."""

    def __init__(self, message: str, status: int, code: str) -> None:
        StoreError.__init__(self, message)
        self.status = status
        self.code = code


class Passing(Exception):
    """Trouble that may pass: no answer, or one that asks for patience. `str()` says which."""


class Body:
    """What a request carries: so many bytes with this sha256, in pieces, as often as it is asked for."""

    def __init__(self, size: int, sha256: str, pieces: Callable[[], Iterator[bytes]]) -> None:
        self.size = size
        self.sha256 = sha256
        self.pieces = pieces

    @classmethod
    def of(cls, data: bytes) -> "Body":
        import hashlib

        return cls(len(data), hashlib.sha256(data).hexdigest(), lambda: iter((data,)))


class Answer:
    """An answer's status, its headers by their names in lower case, and its body where that was read."""

    __slots__ = ("status", "headers", "body")

    def __init__(self, status: int, headers: Dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def tree(self) -> Any:
        """The body as XML, names without their namespace. Raises StoreError where it is none."""
        from xml.etree import ElementTree

        try:
            if b"<!DOCTYPE" in self.body:
                raise ValueError("a document type is not expected")
            root = ElementTree.fromstring(self.body)
        except (ElementTree.ParseError, ValueError) as problem:
            raise StoreError("the endpoint does not speak S3: %s in %r" % (problem, self.body[:80])) from None
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    def code(self) -> str:
        """S3's word for what went wrong; empty where the answer has none."""
        try:
            root = self.tree()
        except StoreError:
            return ""
        return (root.findtext("Code") or "") if root.tag == "Error" else ""


class Client:
    """One bucket at its endpoint, over one connection that is made anew when it breaks. A context."""

    def __init__(self, address: Address, key: Key, region: str, ca_file: str, timeout: int, retries: int) -> None:
        self._address = address
        self._key = key
        self._region = region
        self._ca_file = ca_file
        self._timeout = timeout
        self._retries = retries
        self._connection: Any = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(
        self,
        method: str,
        name: str,
        action: str,
        query: Sequence[Tuple[str, str]] = (),
        headers: Mapping[str, str] = {},
        body: Optional[Body] = None,
    ) -> Answer:
        """Send a request and read the answer. `action` is what the key has to be allowed, in S3's words.

        Raises Refused, and StoreError where no answer comes in spite of all repetitions.
        """
        found: Answer = self._patiently(lambda: self._asked(method, name, action, query, headers, body), name)
        return found

    def stream(self, name: str, action: str) -> Iterator[bytes]:
        """An object's content in pieces. A transfer that breaks goes on where it broke. Raises as `ask` does."""
        at, size, tag = 0, -1, ""
        for left in range(self._retries, -1, -1):
            headers = {"Range": "bytes=%d-" % at, "If-Match": tag} if at else {}
            response = self._patiently(lambda: self._opened(name, action, headers), name)  # noqa: B023
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
            except _broken() as problem:
                if not left:
                    raise StoreError("%s: the connection broke after %d bytes: %s" % (name, at, problem)) from None
            finally:
                if at < size or response.will_close:
                    self.close()
            if at >= size:
                return
        raise StoreError("%s: the connection ended after %d of %d bytes" % (name, at, size))

    # --- one request ---

    def _patiently(self, act: Callable[[], Any], name: str) -> Any:
        """Do it again while the trouble may pass."""
        for attempt in range(self._retries + 1):
            if attempt:
                # Half of the pause is by chance, so that many hosts do not come back at the same instant.
                pause = min(PAUSE_MOST, PAUSE_FIRST * 2 ** (attempt - 1))
                time.sleep(pause * (0.5 + ord(os.urandom(1)) / 512))
            try:
                return act()
            except Passing as problem:
                self.close()
                last = str(problem)
        tries = "%d times" % (self._retries + 1) if self._retries else "once"
        raise StoreError("%s, asked %s for %s: %s" % (self._address.url, tries, name or "the bucket", last))

    def _asked(
        self,
        method: str,
        name: str,
        action: str,
        query: Sequence[Tuple[str, str]],
        headers: Mapping[str, str],
        body: Optional[Body],
    ) -> Answer:
        response = self._exchange(method, name, query, headers, body or Body.of(b""))
        answer = self._read(response)
        # Some requests say that all is well before they know: what went wrong is then in the body.
        hidden = answer.code() if method == "POST" and answer.status == 200 else ""
        if answer.status >= 300 or hidden:
            raise self._refusal(answer, name, action)
        return answer

    def _opened(self, name: str, action: str, headers: Mapping[str, str]) -> Any:
        response = self._exchange("GET", name, (), headers, Body.of(b""))
        if response.status not in (200, 206) or not (response.getheader("Content-Length") or "").isdigit():
            raise self._refusal(self._read(response), name, action)
        return response

    def _exchange(
        self, method: str, name: str, query: Sequence[Tuple[str, str]], headers: Mapping[str, str], body: Body
    ) -> Any:
        """Send a request; the answer with its body unread. Raises Passing, StoreError."""
        path = self._address.path(name)
        given = dict(headers, host=self._address.netloc)
        if body.size or method in ("PUT", "POST"):
            given["content-length"] = str(body.size)
        lines = signed(self._key, self._region, method, path, query, given, body.sha256, time.time())
        target = path + ("?" + query_string(query) if query else "")
        try:
            if self._connection is None:
                self._connection = self._address.connect(self._ca_file, self._timeout)
            self._connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for header, value in lines.items():
                self._connection.putheader(header, value)
            self._connection.endheaders()
            return self._sent(body)
        except _broken() as problem:
            told = "the connection broke" if self._connection is not None else "it cannot be reached"
            self.close()
            lasting, said = reason(problem, self._address.url, self._ca_file)
            raise StoreError(said) if lasting else Passing("%s: %s" % (told, said)) from None

    def _sent(self, body: Body) -> Any:
        sent, broken = 0, None
        for piece in body.pieces():
            try:
                self._connection.send(piece)
            except (BrokenPipeError, ConnectionResetError) as problem:
                # It takes nothing more: perhaps it has said why.
                broken = problem
                break
            sent += len(piece)
        if broken is None and sent != body.size:
            self.close()
            raise StoreError("the file changed while it was sent")
        response = self._connection.getresponse()
        if broken is not None:
            response.will_close = True
        return response

    def _read(self, response: Any) -> Answer:
        try:
            data = response.read(ANSWER_MOST + 1)
        except _broken() as problem:
            self.close()
            raise Passing("the connection broke within the answer: %s" % problem) from None
        if response.will_close or len(data) > ANSWER_MOST:
            self.close()
        if len(data) > ANSWER_MOST:
            raise StoreError("the endpoint's answer has over %d MiB" % (ANSWER_MOST >> 20))
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, data)

    def _refusal(self, answer: Answer, name: str, action: str) -> Exception:
        code = answer.code()
        if code in PASSING_CODES or answer.status in PASSING:
            return Passing("it answers %d %s" % (answer.status, code))
        behind = seconds_behind(answer.headers.get("date", ""))
        said = explained(answer, code, self._key.access, self._address, name, action, behind)
        return Refused(said, answer.status, code)


def _broken() -> Tuple[Any, ...]:
    """What ends a connection."""
    import http.client
    import ssl

    # Python 3.6's exception for a certificate of another name is a ValueError.
    return (OSError, http.client.HTTPException, ssl.CertificateError)


def children(root: Any, tag: str, *names: str) -> List[Tuple[str, ...]]:
    """Of each element `tag` below the root the texts of its parts, empty where it lacks one."""
    return [tuple(element.findtext(name) or "" for name in names) for element in root.findall(tag)]
