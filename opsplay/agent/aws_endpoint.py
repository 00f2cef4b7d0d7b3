"""Where a service over HTTP is reached, the connection to it, and why there is none."""

from __future__ import annotations

from typing import Any, Tuple


class Failure(Exception):
    """The service refused, or cannot be reached: `str()` says why."""


class Endpoint:
    """Where a service is reached, by its URL. Raises its kind of failure for what is no endpoint."""

    # What is raised here, and by whoever asks it: an area that has an error of its own names it.
    failure: Any = Failure

    def __init__(self, url: str) -> None:
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        more = parts.path.strip("/") or parts.query or parts.username
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or more:
            raise self.failure("%r is no endpoint; it looks like https://s3.example.org:9000" % url)
        self.secure = parts.scheme == "https"
        self.port = port or (443 if self.secure else 80)
        self.name(parts.hostname)

    def name(self, host: str) -> None:
        """Say by which name it is reached."""
        self.host = host
        plain = "[%s]" % host if ":" in host else host
        self.netloc = plain if self.port == (443 if self.secure else 80) else "%s:%d" % (plain, self.port)
        self.url = "%s://%s" % ("https" if self.secure else "http", self.netloc)

    def connect(self, ca_file: str, timeout: int) -> Any:
        """A connection, opened. Raises OSError, and its failure for a file of certificates that is none."""
        import http.client

        if not self.secure:
            plain = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
            plain.connect()
            return plain
        import ssl

        try:
            context = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError) as problem:
            raise self.failure("%s holds no certificates: %s" % (ca_file, problem.strerror or problem)) from None
        made = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)
        made.connect()
        return made


def broken() -> Tuple[Any, ...]:
    """What ends a connection."""
    import http.client
    import ssl

    # Python 3.6's exception for a certificate of another name is a ValueError.
    return (OSError, http.client.HTTPException, ssl.CertificateError)


def reason(problem: Exception, url: str, ca_file: str) -> Tuple[bool, str]:
    """Whether another attempt would end the same way, and why there is no connection."""
    import ssl

    told = getattr(problem, "verify_message", "") or getattr(problem, "strerror", "")
    told = str(told or problem or type(problem).__name__)
    # Python 3.6 has an exception of its own for a certificate of another name, which is no SSLError.
    if "not valid for" in told or (type(problem).__name__ == "CertificateError" and not isinstance(problem, OSError)):
        return True, "%s shows a certificate for another name: %s" % (url, told)
    if isinstance(problem, ssl.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(problem):
        remedy = "%s does not vouch for it" % ca_file if ca_file else "give ca_file where the CA is your own"
        return True, "%s shows a certificate that is not trusted (%s): %s" % (url, told, remedy)
    if isinstance(problem, ssl.SSLError) and ("WRONG_VERSION_NUMBER" in str(problem) or "HTTP_REQUEST" in str(problem)):
        return True, "%s speaks no TLS there: give an endpoint with http:// where that is wanted" % url
    return False, told
