"""Requests to a service of Amazon's kind: signed, sent again where it had no time, and refused in plain words."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from opsplay.agent.aws_endpoint import Endpoint, broken, reason
from opsplay.agent.aws_signature import Key, query_string, signed

# What passes by itself, by status and by the code of the answer.
PASSING = (429, 500, 502, 503, 504)
PASSING_CODES = (
    "SlowDown", "RequestTimeout", "InternalError", "ConditionalRequestConflict", "OperationAborted", "Throttling",
    "ThrottlingException", "RequestLimitExceeded", "PriorRequestNotComplete", "ServiceUnavailable",
)  # fmt: skip
# Seconds before the first repetition; each further one waits twice as long, up to the most.
PAUSE_FIRST, PAUSE_MOST = 0.5, 20.0
KEY_WRONG = ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException")
TOKEN_WRONG = ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired")
CLOCK_WRONG = ("RequestTimeTooSkewed", "RequestExpired")
# How a service begins that has no code for a clock.
CLOCK_SAID = ("Signature expired", "Signature not yet current")
# Seconds by which a clock may be wrong before it is suspected: S3 accepts up to 15 minutes.
SKEW = 600


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
        """The body as XML, names without their namespace. Raises ValueError where it is none."""
        from xml.etree import ElementTree

        # As text, whatever encoding it claims: in another one a document type, with its entities, could hide.
        text = self.body.decode("utf-8")
        if "<!DOCTYPE" in text:
            raise ValueError("a document type is not expected")
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as problem:
            raise ValueError(str(problem)) from None
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    def said(self, tag: str) -> str:
        """A part of the service's own explanation; empty where there is none."""
        try:
            root = self.tree()
        except ValueError:
            return ""
        # S3's answer is the error itself, others wrap it.
        for wrapped in (root, root.find("Error"), root.find("Errors/Error")):
            if wrapped is not None and wrapped.tag == "Error":
                return str(wrapped.findtext(tag) or "")
        return ""

    def code(self) -> str:
        """The service's word for what went wrong; empty where the answer has none."""
        return self.said("Code")


class Client:
    """A service at its endpoint, over one connection that is made anew when it breaks.

    A service's own client says what its names and refusals mean: `service`, `speaks`, `path`, `refused`.
    """

    service = ""
    # How the service is called where it does not answer as it should.
    speaks = ""
    # The largest answer that is read whole.
    answer_most = 64 << 20

    def __init__(self, endpoint: Endpoint, key: Key, region: str, ca_file: str, timeout: int, retries: int) -> None:
        self._endpoint = endpoint
        self._key = key
        self._region = region
        self._ca_file = ca_file
        self._timeout = timeout
        self._retries = retries
        self._connection: Any = None

    @property
    def access(self) -> str:
        """The id of the access key, for messages."""
        return self._key.access

    def path(self, name: str) -> str:
        """The path of a resource, quoted."""
        raise NotImplementedError

    def refused(self, answer: Answer, code: str, name: str, action: str) -> Exception:
        """What to raise where the service says no."""
        raise NotImplementedError

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
        """Send a request and read the answer. `action` is what the key has to be allowed, in the service's words.

        Raises what `refused` makes, and the endpoint's failure where no answer comes in spite of all repetitions.
        """
        found: Answer = self.patiently(lambda: self._asked(method, name, action, query, headers, body), name)
        return found

    def page(self, *words: Any) -> Any:
        """The XML of an answer. Takes and raises what `ask` does, and the endpoint's failure where it is none."""
        answer = self.ask(*words)
        try:
            return answer.tree()
        except ValueError as problem:
            text = "the endpoint does not speak %s: %s in %r"
            raise self._endpoint.failure(text % (self.speaks, problem, answer.body[:80])) from None

    # --- one request ---

    def patiently(self, act: Callable[[], Any], name: str) -> Any:
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
        text = "%s, asked %s for %s: %s"
        raise self._endpoint.failure(text % (self._endpoint.url, tries, self.called(name), last))

    def called(self, name: str) -> str:
        """What a resource is called in messages."""
        return name

    def _asked(
        self,
        method: str,
        name: str,
        action: str,
        query: Sequence[Tuple[str, str]],
        headers: Mapping[str, str],
        body: Optional[Body],
    ) -> Answer:
        answer = self.read(self.exchange(method, name, query, headers, body or Body.of(b"")))
        # Some requests say that all is well before they know: what went wrong is then in the body.
        hidden = answer.code() if method == "POST" and answer.status == 200 else ""
        if answer.status >= 300 or hidden:
            raise self.refusal(answer, name, action)
        return answer

    def exchange(
        self, method: str, name: str, query: Sequence[Tuple[str, str]], headers: Mapping[str, str], body: Body
    ) -> Any:
        """Send a request; the answer with its body unread. Raises Passing, and the endpoint's failure."""
        path = self.path(name)
        given = dict(headers, host=self._endpoint.netloc)
        if body.size or method in ("PUT", "POST"):
            given["content-length"] = str(body.size)
        lines = signed(self._key, self.service, self._region, method, path, query, given, body.sha256, time.time())
        target = path + ("?" + query_string(query) if query else "")
        try:
            if self._connection is None:
                self._connection = self._endpoint.connect(self._ca_file, self._timeout)
            self._connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for header, value in lines.items():
                self._connection.putheader(header, value)
            self._connection.endheaders()
            return self._sent(body)
        except broken() as problem:
            told = "the connection broke" if self._connection is not None else "it cannot be reached"
            self.close()
            lasting, said = reason(problem, self._endpoint.url, self._ca_file)
            raise self._endpoint.failure(said) if lasting else Passing("%s: %s" % (told, said)) from None

    def _sent(self, body: Body) -> Any:
        sent, refused = 0, None
        for piece in body.pieces():
            try:
                self._connection.send(piece)
            except (BrokenPipeError, ConnectionResetError) as problem:
                # It takes nothing more: perhaps it has said why.
                refused = problem
                break
            sent += len(piece)
        if refused is None and sent != body.size:
            self.close()
            raise self._endpoint.failure("the file changed while it was sent")
        response = self._connection.getresponse()
        if refused is not None:
            response.will_close = True
        return response

    def read(self, response: Any) -> Answer:
        """An answer with its body. Raises Passing, and the endpoint's failure for one that is too large."""
        most = self.answer_most
        try:
            data = response.read(most + 1)
        except broken() as problem:
            self.close()
            raise Passing("the connection broke within the answer: %s" % problem) from None
        if response.will_close or len(data) > most:
            self.close()
        if len(data) > most:
            raise self._endpoint.failure("the endpoint's answer has over %d MiB" % (most >> 20))
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, data)

    def refusal(self, answer: Answer, name: str, action: str) -> Exception:
        """Passing for what may pass, else what `refused` makes."""
        code = answer.code()
        if code in PASSING_CODES or answer.status in PASSING:
            return Passing("it answers %d %s" % (answer.status, code))
        return self.refused(answer, code, name, action)


def not_let_in(answer: Answer, code: str, access: str, url: str) -> str:
    """Why a key does not open the door at all, whatever is behind it, and what to do; empty for another refusal."""
    behind = seconds_behind(answer.headers.get("date", ""))
    skewed = answer.status == 403 and behind is not None and abs(behind) > SKEW
    if code in CLOCK_WRONG or skewed or answer.said("Message").startswith(CLOCK_SAID):
        return "%s refuses the time of the request: %s; set this host's clock" % (url, clock(behind))
    if code in KEY_WRONG:
        return "%s knows no access key %s: give another access_key" % (url, access)
    if code == "SignatureDoesNotMatch":
        told = "%s does not accept the signature: secret_key is not that of the access key %s, or region is another"
        return told % (url, access)
    if code in TOKEN_WRONG:
        return "%s does not accept session_token: it has expired or belongs to another key; get new ones" % url
    return ""


def seconds_behind(date: str) -> Optional[float]:
    """By how much this host's clock is behind an answer's date; None where that is unreadable."""
    from email.utils import mktime_tz, parsedate_tz

    parsed = parsedate_tz(date) if date else None
    return mktime_tz(parsed) - time.time() if parsed else None


def clock(behind: Optional[float]) -> str:
    here = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if behind is None or abs(behind) < 60:
        return "it is %s here" % here
    return "it is %s here, %d minutes %s" % (here, abs(behind) // 60, "behind" if behind > 0 else "ahead")
