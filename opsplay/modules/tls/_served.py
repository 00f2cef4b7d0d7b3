"""A TLS server as a client sees it: connections, with what comes before TLS in some protocols, and what was served."""

from __future__ import annotations

import struct
from typing import Any, List, Optional

VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
# To see what a server offers, not what is wise: what is not wise is said afterwards.
CIPHERS = "DEFAULT:@SECLEVEL=0"
OLD_CIPHERS = "ALL:@SECLEVEL=0"
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL.
NO_CHECK_TIME = 0x200000
POSTGRES_REQUEST = struct.pack("!II", 8, 80877103)
LINE_MOST, LINES_MOST = 2048, 100


class Unreachable(Exception):
    """No connection, or no TLS on it. `reason` is OpenSSL's word for it where there is one."""

    def __init__(self, message: str, reason: str = "") -> None:
        Exception.__init__(self, message)
        self.reason = reason


class Distrusted(Exception):
    """The certificate does not lead to a trusted one: OpenSSL's number for it, and its words."""

    def __init__(self, code: int, words: str) -> None:
        Exception.__init__(self, words)
        self.code = code


class Served:
    """What one handshake has shown. `chain` is what was sent, None where this Python cannot tell."""

    __slots__ = ("protocol", "cipher", "certificate", "chain")

    def __init__(self, connection: Any) -> None:
        self.protocol: str = connection.version() or ""
        self.cipher: str = (connection.cipher() or ("",))[0]
        self.certificate: bytes = connection.getpeercert(True) or b""
        self.chain = sent_chain(connection)


class Server:
    """Where the server is, and how TLS begins there."""

    def __init__(self, host: str, port: int, sni: str, starttls: str, timeout: float) -> None:
        self.host = host
        self.port = port
        self.sni = sni
        self.starttls = starttls
        self.timeout = timeout

    def handshake(self, context: Any) -> Served:
        """Connect, and see what is served. Raises Unreachable, Distrusted."""
        import socket
        import ssl

        try:
            with socket.create_connection((self.host, self.port), timeout=self.timeout) as plain:
                self._begin(plain)
                with context.wrap_socket(plain, server_hostname=self.sni or None) as connection:
                    return Served(connection)
        except ssl.SSLError as problem:
            reason = problem.reason or ""
            if reason == "CERTIFICATE_VERIFY_FAILED":
                words = getattr(problem, "verify_message", "") or str(problem)
                raise Distrusted(int(getattr(problem, "verify_code", 0)), words)
            raise Unreachable(reason.replace("_", " ").lower() or str(problem), reason)
        except socket.timeout:
            raise Unreachable("no answer within %g s" % self.timeout, "TIMEOUT")
        except OSError as problem:
            raise Unreachable(problem.strerror or str(problem))
        except ValueError as problem:
            # A name that cannot be sent.
            raise Unreachable("%r cannot be a server's name: %s" % (self.sni, problem))

    def _begin(self, plain: Any) -> None:
        """What some protocols say before TLS."""
        if self.starttls == "smtp":
            expect(plain, "220", "")
            expect(plain, "250", "EHLO opsplay\r\n")
            expect(plain, "220", "STARTTLS\r\n")
        elif self.starttls == "postgres":
            plain.sendall(POSTGRES_REQUEST)
            answer = plain.recv(1)
            if answer != b"S":
                said = "the server has TLS switched off" if answer == b"N" else "it is no PostgreSQL server"
                raise Unreachable("%s (it answers %r)" % (said, answer))


def expect(plain: Any, code: str, command: str) -> None:
    """Send an SMTP command and read the answer. Raises Unreachable when it is another than expected."""
    plain.sendall(command.encode("ascii"))
    for _ in range(LINES_MOST):
        line = b""
        # Byte by byte: what follows the last line belongs to TLS.
        while not line.endswith(b"\n") and len(line) < LINE_MOST:
            byte = plain.recv(1)
            if not byte:
                raise Unreachable("the server closed the connection before TLS began")
            line += byte
        if line[3:4] != b"-" or not line[:3].isdigit():
            break
    if not line.startswith(code.encode("ascii")):
        said = line.decode("utf-8", "replace").strip()
        raise Unreachable("it answers %r to %s" % (said, command.strip() or "the connection"))


def context(version: str = "", trusted: Optional[str] = None, verify: bool = False, check_time: bool = True) -> Any:
    """What a client accepts: everything, or one version only. `trusted` is a file; without it the host's store counts.

    Raises Unreachable where this host's own OpenSSL lacks the version, OSError for a file that cannot be read.
    """
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    made.options &= ~ssl.OP_NO_TLSv1 & ~ssl.OP_NO_TLSv1_1
    made.set_ciphers(OLD_CIPHERS if version in ("TLSv1", "TLSv1.1") else CIPHERS)
    try:
        limit(made, version)
    except ValueError:
        raise Unreachable("this host's OpenSSL does not know %s" % version, "NO_PROTOCOLS_AVAILABLE")
    if verify and trusted:
        made.load_verify_locations(cafile=trusted)
    elif verify:
        made.set_default_verify_paths()
    if not check_time:
        made.verify_flags |= NO_CHECK_TIME
    return made


def limit(made: Any, version: str) -> None:
    """Let a context speak just one version, or all that there are. Raises ValueError."""
    import ssl

    if hasattr(made, "minimum_version"):
        # As numbers: older Pythons have no names for them.
        made.minimum_version = VERSIONS[version] if version else VERSIONS["TLSv1"]
        if version:
            made.maximum_version = VERSIONS[version]
    elif version:
        for other in VERSIONS:
            if other != version:
                made.options |= getattr(ssl, "OP_NO_" + other.replace(".", "_"), 0)


def sent_chain(connection: Any) -> Optional[List[bytes]]:
    """The certificates that the server has sent, its own first; None where this Python cannot tell (before 3.10)."""
    for holder in (connection, getattr(connection, "_sslobj", None)):
        ask = getattr(holder, "get_unverified_chain", None)
        if ask is not None:
            # From 3.13 on they are bytes; before, objects of the module _ssl, whose form 2 is DER.
            return [each if isinstance(each, bytes) else each.public_bytes(2) for each in ask() or ()]
    return None


# Refusals of our own side, which say nothing about the server.
OWN_REFUSALS = ("NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "NO_CIPHER_MATCH", "TIMEOUT")


def accepts(server: Server, version: str) -> Optional[bool]:
    """Whether the server speaks this version; None when this host cannot find out."""
    try:
        return server.handshake(context(version)).protocol == version
    except Unreachable as problem:
        return None if problem.reason in OWN_REFUSALS else False
