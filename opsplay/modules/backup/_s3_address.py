"""Where a bucket is reached: its endpoint, and the two ways to name it there."""

from __future__ import annotations

from opsplay.agent.aws_endpoint import Endpoint
from opsplay.agent.aws_signature import quoted
from opsplay.modules.backup._store import StoreError


class Address(Endpoint):
    """Where a bucket is reached. `style` is path, virtual or auto. Raises StoreError for what is no endpoint."""

    failure = StoreError

    def __init__(self, endpoint: str, bucket: str, region: str, style: str) -> None:
        Endpoint.__init__(self, endpoint or "https://s3.%s.amazonaws.com" % region)
        if style == "auto":
            # A certificate for all buckets (*.s3.…) holds for none that has a dot in its name.
            style = "path" if endpoint or "." in bucket else "virtual"
        self.bucket = bucket
        if style == "virtual":
            self.name("%s.%s" % (bucket, self.host))
        self._base = "/" + quoted(bucket) if style == "path" else ""

    def path(self, name: str) -> str:
        """The path of an object, of the bucket itself without a name."""
        return "%s/%s" % (self._base, quoted(name, "/")) if name else self._base or "/"
