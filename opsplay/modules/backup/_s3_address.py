"""Where a bucket is reached: its endpoint, the two ways to name it there, and the connection."""

from __future__ import annotations

from typing import Any

from opsplay.modules.backup._s3_signature import quoted
from opsplay.modules.backup._store import StoreError


class Address:
    """Where a bucket is reached. `style` is path, virtual or auto. Raises StoreError for what is no endpoint."""

    def __init__(self, endpoint: str, bucket: str, region: str, style: str) -> None:
        from urllib.parse import urlsplit

        parts = urlsplit(endpoint or "https://s3.%s.amazonaws.com" % region)
        try:
            port = parts.port
        except ValueError:
            port = -1
        more = parts.path.strip("/") or parts.query or parts.username
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or more:
            raise StoreError("%r is no endpoint; it looks like https://s3.example.org:9000" % endpoint)
        if style == "auto":
            # A certificate for all buckets (*.s3.…) holds for none that has a dot in its name.
            style = "path" if endpoint or "." in bucket else "virtual"
        before = bucket + "." if style == "virtual" else ""
        self.bucket = bucket
        self.secure = parts.scheme == "https"
        self.host = before + parts.hostname
        self.port = port or (443 if self.secure else 80)
        plain = "[%s]" % self.host if ":" in self.host else self.host
        self.netloc = plain if self.port == (443 if self.secure else 80) else "%s:%d" % (plain, self.port)
        self.url = "%s://%s" % (parts.scheme, self.netloc)
        self._base = "/" + quoted(bucket) if style == "path" else ""

    def path(self, name: str) -> str:
        """The path of an object, of the bucket itself without a name."""
        return "%s/%s" % (self._base, quoted(name, "/")) if name else self._base or "/"

    def connect(self, ca_file: str, timeout: int) -> Any:
        """A connection, opened. Raises OSError, StoreError for a file of certificates that is none."""
        import http.client

        if not self.secure:
            plain = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
            plain.connect()
            return plain
        import ssl

        try:
            context = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError) as problem:
            raise StoreError("%s holds no certificates: %s" % (ca_file, problem.strerror or problem)) from None
        made = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)
        made.connect()
        return made
