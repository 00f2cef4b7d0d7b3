"""An endpoint that speaks S3, and a way to it on which things go wrong.

The endpoint is moto's server, which checks signatures and policies with botocore; `Door` checks before it what a real
one checks besides: the hash of what came, and the condition of a completion. Route 53 is served there, too. It runs as a process of its own:
`python -m tests.modules.s3server ADDRESS` says its port and serves until its standard input ends.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

ROOT = Path(__file__).resolve().parents[2]
ERROR = "<?xml version='1.0'?><Error><Code>%s</Code><Message>%s</Message></Error>"
# Buckets of such a name are served as by an endpoint that knows neither checksums nor conditions.
BARE = "bare"
# What a maker of backups may do: no deletion of an object is among it.
APPEND = ["s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
          "s3:ListBucketMultipartUploads"]  # fmt: skip
READ = ["s3:GetObject", "s3:ListBucket"]
# What a key may do that moves names.
NAMES = ["route53:ListHostedZonesByName", "route53:ListResourceRecordSets", "route53:ChangeResourceRecordSets",
         "route53:GetChange"]  # fmt: skip


# --- the endpoint ---


class Door:
    """Refuses damaged contents, and completions of what is there; leaves checksums out for bare buckets."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        bucket, _, name = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
        if not environ["HTTP_HOST"][:1].isdigit():
            bucket, name = environ["HTTP_HOST"].partition(".")[0], unquote(environ["PATH_INFO"]).lstrip("/")
        if "/s3/" not in environ.get("HTTP_AUTHORIZATION", ""):
            said = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
            if said in (None, hashlib.sha256(body).hexdigest()):
                return self._app(environ, start)
            start("400 Bad Request", [("Content-Type", "application/xml")])
            return [(ERROR % ("InvalidSignature", "the body is another one")).encode()]
        if bucket.startswith(BARE):
            return self._app(environ, lambda status, headers, *rest: start(status, without_checksums(headers), *rest))
        problem = self._problem(environ, body, bucket, name)
        if problem is None:
            return self._app(environ, start)
        start(problem[0], [("Content-Type", "application/xml")])
        return [(ERROR % (problem[1], "refused at the door")).encode()]

    def _problem(self, environ: dict[str, Any], body: bytes, bucket: str, name: str) -> tuple[str, str] | None:
        found = hashlib.sha256(body)
        if environ.get("HTTP_X_AMZ_CONTENT_SHA256") not in (found.hexdigest(), "UNSIGNED-PAYLOAD"):
            return "400 Bad Request", "XAmzContentSHA256Mismatch"
        said = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
        if said and said != b64encode(found.digest()).decode():
            return "400 Bad Request", "BadDigest"
        completes = environ["REQUEST_METHOD"] == "POST" and "uploadId" in parse_qs(environ["QUERY_STRING"])
        if completes and environ.get("HTTP_IF_NONE_MATCH") == "*" and self._is_there(bucket, name):
            return "412 Precondition Failed", "PreconditionFailed"
        return None

    @staticmethod
    def _is_there(bucket: str, name: str) -> bool:
        from moto.s3.models import s3_backends

        return s3_backends["123456789012"]["aws"].get_object(bucket, name) is not None


def without_checksums(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in headers if not pair[0].lower().startswith("x-amz-checksum")]


def main(address: str) -> None:
    import logging

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Door(DomainDispatcherApplication(create_backend_app))
    server = make_server(address, 0, app, threaded=True, request_handler=MotoRequestHandler)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


@dataclass
class Endpoint:
    """A running endpoint: who may do what there, and what an administrator sees."""

    address: str
    port: int
    admin: Any = None
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    zones: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    def client(self, service: str, key: dict[str, str] | None = None) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required",
                        s3={"addressing_style": "path"}, retries={"max_attempts": 1})  # fmt: skip
        key = key or {"access_key": "nobody", "secret_key": "nothing"}
        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1", config=config,
            aws_access_key_id=key["access_key"], aws_secret_access_key=key["secret_key"],
        )  # fmt: skip

    def allow(self, user: str, *actions: str) -> dict[str, str]:
        """A new user's key, with what it may do everywhere."""
        iam = self.client("iam")
        iam.create_user(UserName=user)
        rule = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
        iam.put_user_policy(UserName=user, PolicyName="may", PolicyDocument=policy)
        made = iam.create_access_key(UserName=user)["AccessKey"]
        return {"access_key": made["AccessKeyId"], "secret_key": made["SecretAccessKey"]}

    def names(self, bucket: str) -> list[str]:
        """What lies in a bucket."""
        return sorted(entry["Key"] for entry in self.admin.list_objects_v2(Bucket=bucket).get("Contents", ()))

    def content(self, bucket: str, name: str) -> bytes:
        found: bytes = self.admin.get_object(Bucket=bucket, Key=name)["Body"].read()
        return found

    def uploads(self, bucket: str) -> int:
        """How many uploads in parts were begun and are not over."""
        return len(self.admin.list_multipart_uploads(Bucket=bucket).get("Uploads", ()))

    def empty(self, bucket: str) -> None:
        for name in self.names(bucket):
            self.admin.delete_object(Bucket=bucket, Key=name)
        for upload in self.admin.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
            self.admin.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


@contextmanager
def serving(address: str, before: Callable[[Endpoint], Any] = lambda here: None) -> Iterator[Endpoint]:
    """An endpoint with two buckets and the keys append, read, none, names and look. What `before` does is done before
    signatures are checked."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.modules.s3server", address], cwd=ROOT, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        here = Endpoint(address, int(process.stdout.readline()))
        for bucket in ("backups", BARE):
            here.client("s3").create_bucket(Bucket=bucket)
        admin = here.allow("admin", "s3:*")
        here.keys = {"append": here.allow("append", *APPEND), "read": here.allow("read", *READ),
                     "none": here.allow("none", "iam:GetUser"), "names": here.allow("names", *NAMES),
                     "look": here.allow("look", *NAMES[:2])}  # fmt: skip
        before(here)
        # From the next request on signatures and policies count.
        plain = {"Content-Type": "application/octet-stream"}
        with urllib.request.urlopen(urllib.request.Request(f"{here.url}/moto-api/reset-auth", b"0", plain)):
            pass
        here.admin = here.client("s3", admin)
        yield here
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# --- the way there ---


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of a method whose target holds `target`.

    cut: the connection ends after `at` bytes of the body; short: after `at` bytes of the answer's; flip: one bit of the
    byte `at` of the body; mute: the request is served and its answer lost; busy: 503 SlowDown; late: `at` seconds of
    silence; clock: the answer of an endpoint an hour ahead; bare: 501 where a condition was asked for; says: `says`, a
    status and a body, in place of an answer; alter: the two texts of `alters`, the first replaced by the second in the
    answer. `act` is called before.
    """

    kind: str
    method: str = "PUT"
    target: str = ""
    at: int = 0
    times: int = 1
    act: Callable[[], Any] = int
    says: tuple[int, str] = (200, "")
    alters: tuple[str, str] = ("", "")


class Way(ThreadingHTTPServer):
    """Passes requests on to an endpoint; `asked` keeps method, target and status of each."""

    daemon_threads = True

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__((endpoint.address, 0), Carrier)
        self.endpoint = endpoint
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, int]] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.endpoint.address}:{self.server_address[1]}"

    def secure(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "https"

    def handle_error(self, request: Any, client_address: Any) -> None: ...

    def fault(self, method: str, target: str) -> Fault:
        for fault in self.faults:
            if fault.times and fault.method == method and fault.target in target:
                fault.times -= 1
                fault.act()
                return fault
        return Fault("")

    def count(self, method: str, target: str = "") -> int:
        """How many requests were answered well."""
        return sum(1 for asked in self.asked if asked[0] == method and target in asked[1] and asked[2] < 300)


class Carrier(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Way

    def log_message(self, format: str, *args: Any) -> None: ...

    def carry(self) -> None:
        fault = self.server.fault(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        unconditional = fault.kind == "bare" and self.headers.get("If-None-Match")
        if fault.kind in ("busy", "clock") or unconditional:
            self.rfile.read(length)
            code, status = {"busy": ("SlowDown", 503), "clock": ("RequestTimeTooSkewed", 403)}.get(
                fault.kind, ("NotImplemented", 501)
            )
            date = time.time() + (3600 if fault.kind == "clock" else 0)
            self.answer(status, [("Date", self.date_time_string(date))], (ERROR % (code, "wait")).encode())
            return
        if fault.kind == "says":
            self.rfile.read(length)
            self.answer(fault.says[0], [("Date", self.date_time_string())], fault.says[1].encode())
            return
        there = http.client.HTTPConnection(self.server.endpoint.address, self.server.endpoint.port)
        try:
            self.send_on(there, fault, length)
        except ConnectionError:
            self.hang_up()
        finally:
            there.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = carry

    def send_on(self, there: http.client.HTTPConnection, fault: Fault, length: int) -> None:
        there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            there.putheader(name, value)
        there.endheaders()
        passed = 0
        while passed < length:
            piece = self.rfile.read1(min(1 << 16, length - passed))  # type: ignore[attr-defined]
            if not piece or (fault.kind == "cut" and passed + len(piece) > fault.at):
                raise ConnectionError("cut")
            if fault.kind == "flip" and passed <= fault.at < passed + len(piece):
                at = fault.at - passed
                piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
            there.send(piece)
            passed += len(piece)
        response = there.getresponse()
        data = response.read()
        if fault.kind == "late":
            time.sleep(fault.at)
        if fault.kind == "mute":
            raise ConnectionError("mute")
        if fault.kind == "alter":
            assert fault.alters[0].encode() in data
            data = data.replace(fault.alters[0].encode(), fault.alters[1].encode())
        cut = fault.at if fault.kind == "short" else None
        kept = [pair for pair in response.getheaders() if pair[0].lower() not in ("connection", "transfer-encoding")]
        self.answer(response.status, kept, data, cut)

    def answer(self, status: int, headers: list[tuple[str, str]], data: bytes, cut: int | None = None) -> None:
        self.server.asked.append((self.command, self.path, status))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut])
        if cut is not None:
            raise ConnectionError("short")

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@contextmanager
def way_to(endpoint: Endpoint, certificate: Path | None = None, key: Path | None = None) -> Iterator[Way]:
    made = Way(endpoint)
    if certificate is not None and key is not None:
        made.secure(certificate, key)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()


if __name__ == "__main__":
    main(sys.argv[1])
