"""What offsite_sync costs beyond plain requests: one large file into the same bucket, turn by turn.

    python benchmarks/bucket.py [--mib 1024] [--part-size 16] [--runs 3]

The endpoint is the one of the tests, on loopback, and shares the machine. `plain` sends the same parts over one
connection, signed ahead, each read once and nothing proven: what curl would do. `boto3` is Amazon's library with one
thread. offsite_sync reads the file three times (whole, each part, to send it), and proves it over there. Printed are
the medians, their ratios, and the most memory that offsite_sync's process had.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from opsplay.agent.aws_signature import Key, query_string, signed  # noqa: E402
from tests.modules.s3server import ROOT, Endpoint, serving  # noqa: E402
from tests.modules.test_offsite_s3 import PROGRAM, STAMP  # noqa: E402

MIB = 1 << 20
BUCKET, NAME = "backups", "plain/file"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="What offsite_sync costs beyond plain requests.")
    parser.add_argument("--mib", type=int, default=1024, help="the size of the file (default 1024)")
    parser.add_argument("--part-size", type=int, default=16, help="MiB of a part (default 16)")
    parser.add_argument("--runs", type=int, default=3, help="take medians of so many turns (default 3)")
    wanted = parser.parse_args(arguments)
    ways = {"plain": plain, "boto3": boto3, "offsite_sync": offsite_sync}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    memory = 0.0
    with serving("127.0.0.1") as endpoint, tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder), wanted.mib)
        for _ in range(wanted.runs):
            for name, send in ways.items():
                took, used = send(endpoint, path, wanted.part_size * MIB)
                seconds[name].append(took)
                memory = max(memory, used)
                endpoint.empty(BUCKET)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"{wanted.mib} MiB in parts of {wanted.part_size}, medians of {wanted.runs} turns")
    for name, median in medians.items():
        rate = wanted.mib * MIB / median / 1e6
        print(f"{name:13} {median:6.1f} s  {rate:5.0f} MB/s  {median / medians['plain']:.2f} of plain")
    print(f"offsite_sync's process had {memory:.0f} MiB at most")
    return 0


def make(folder: Path, mib: int) -> Path:
    """A set with one file of random bytes; the file's path."""
    path = folder / "app" / STAMP / "app.dump"
    path.parent.mkdir(parents=True)
    found = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(mib):
            piece = os.urandom(MIB)
            found.update(piece)
            file.write(piece)
    entry = {"name": path.name, "size": mib * MIB, "sha256": found.hexdigest()}
    moment = "2026-01-01T00:00:00Z"
    manifest = {"version": 1, "kind": "pg_backup", "name": "app", "started": moment, "finished": moment,
                "files": [entry], "verified": {"level": "read"}}  # fmt: skip
    path.with_name("manifest.json").write_text(json.dumps(manifest))
    return path


def offsite_sync(endpoint: Endpoint, path: Path, part: int) -> tuple[float, float]:
    """Seconds, and MiB of memory."""
    params = {"bucket": BUCKET, "endpoint": endpoint.url, "part_size": part // MIB, "dir": str(path.parents[2]),
              "name": "app", **endpoint.keys["append"]}  # fmt: skip
    argv = [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT)]
    done = subprocess.run(argv, input=json.dumps(params), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return told["seconds"], told["mib"]


def boto3(endpoint: Endpoint, path: Path, part: int) -> tuple[float, float]:
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(multipart_threshold=part, multipart_chunksize=part, use_threads=False)
    client = endpoint.client("s3", endpoint.keys["append"])
    begun = time.monotonic()
    client.upload_file(str(path), BUCKET, NAME, Config=config)
    return time.monotonic() - begun, 0


def plain(endpoint: Endpoint, path: Path, part: int) -> tuple[float, float]:
    made = endpoint.keys["append"]
    key, client = Key(made["access_key"], made["secret_key"]), endpoint.client("s3", made)
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=NAME)["UploadId"]
    target, host = f"/{BUCKET}/{NAME}", f"{endpoint.address}:{endpoint.port}"
    requests = []
    with path.open("rb") as file:
        for number, data in enumerate(iter(lambda: file.read(part), b""), 1):
            query, headers = [("partNumber", str(number)), ("uploadId", upload)], {"content-length": str(len(data))}
            sha256 = hashlib.sha256(data).hexdigest()
            lines = signed(key, "s3", "us-east-1", "PUT", target, query, {**headers, "host": host}, sha256, time.time())
            requests.append((f"{target}?{query_string(query)}", lines))
    begun = time.monotonic()
    connection, parts = http.client.HTTPConnection(endpoint.address, endpoint.port), []
    with path.open("rb") as file:
        for number, (where, lines) in enumerate(requests, 1):
            connection.request("PUT", where, file.read(part), lines)
            parts.append({"PartNumber": number, "ETag": answered(connection)})
    client.complete_multipart_upload(Bucket=BUCKET, Key=NAME, UploadId=upload, MultipartUpload={"Parts": parts})
    return time.monotonic() - begun, 0


def answered(connection: http.client.HTTPConnection) -> Any:
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
    return response.getheader("ETag")


if __name__ == "__main__":
    sys.exit(main())
