"""Encryption to recipients whose private key is elsewhere, and decryption with a key that never lies on a disk."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent.host import Host
from opsplay.agent.pipeline import Program, Tap, into_file, opened
from opsplay.agent.spec import Choice, Str
from opsplay.agent.spec import Dict as DictOf

SUFFIXES = {"age": ".age", "gpg": ".gpg"}
ENCRYPT = DictOf(
    help="Encrypt to the holders of keys that are not on this host: {method: age or gpg, recipients: […]}. Recipients"
         " of age are its public keys, of ssh, or a file with them; those of gpg a public key's armoured text, a file"
         " with one, or a key of this account's keyring",
)  # fmt: skip
METHOD = Choice(*SUFFIXES)
ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
# The parameters of every module that decrypts.
KEY = {
    "key": Str(secret=True, help="The private key, as text: an identity of age, or an armoured secret key of gpg"),
    "key_passphrase": Str(secret=True, help="The passphrase of a gpg key, if it has one"),
}


class Cipher:
    """Encrypts to recipients. A context, for keys that gpg wants in files."""

    def __init__(self, host: Host, method: str, recipients: List[str]) -> None:
        self._host = host
        self.method = method
        self.recipients = recipients
        self.suffix = SUFFIXES[method]
        self._home = ""
        self._words: List[str] = []

    def __enter__(self) -> "Cipher":
        """Make ready, and encrypt nothing for a try. Fails with the program's own words."""
        self._words = self._age() if self.method == "age" else self._gpg()
        done = self._host.query(self._words)
        if done.rc != 0:
            said = done.stderr.strip() or done.error
            self.__exit__()
            self._host.fail("cannot encrypt to %s: %s" % (", ".join(map(shown, self.recipients)), said))
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._home:
            self._host.temporary.discard(self._home)
            self._home = ""

    def program(self) -> Program:
        """What encrypts its standard input to its standard output."""
        return Program(self._words)

    def describe(self) -> Dict[str, Any]:
        """As a manifest has it."""
        return {"method": self.method, "recipients": [shown(recipient) for recipient in self.recipients]}

    def _age(self) -> List[str]:
        found = [program(self._host, "age")]
        for recipient in self.recipients:
            found += ["-R" if recipient.startswith("/") else "-r", recipient]
        return found

    def _gpg(self) -> List[str]:
        found = [program(self._host, "gpg"), "--batch", "--no-tty", "--quiet", "--trust-model", "always"]
        found += ["--compress-algo", "none", "--cipher-algo", "AES256"]
        whole = all(recipient.startswith(("/", ARMOUR)) for recipient in self.recipients)
        if whole or any(recipient.startswith(ARMOUR) for recipient in self.recipients):
            self._home = private_folder(self._host)
        if whole:
            found += ["--homedir", self._home]
        for number, recipient in enumerate(self.recipients):
            if recipient.startswith(ARMOUR):
                path = os.path.join(self._home, "key-%d" % number)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(recipient)
                recipient = path
            found += ["--recipient-file" if recipient.startswith("/") else "--recipient", recipient]
        return found + ["--encrypt"]


class Decipher:
    """Decrypts with a private key. A context: what gpg needs lies in memory (tmpfs), and goes with it."""

    def __init__(self, host: Host, method: str, key: str, passphrase: str = "") -> None:
        self._host = host
        self._method = method
        self._key = key.strip() + "\n"
        self._passphrase = passphrase
        self._home = ""

    def __enter__(self) -> "Decipher":
        if self._method == "gpg":
            self._home = private_folder(self._host)
            done = self._host.query(self._gpg() + ["--import"], stdin=self._key.encode())
            if done.rc != 0:
                self.__exit__()
                self._host.fail("gpg does not take the key: %s" % (done.stderr.strip() or done.error))
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._home:
            self._host.query(["gpgconf", "--homedir", self._home, "--kill", "gpg-agent"])
            self._host.temporary.discard(self._home)
            self._home = ""

    def program(self) -> Program:
        """What decrypts its standard input to its standard output; the secret is in a pipe, on no command line."""
        if self._method == "age":
            return Program([program(self._host, "age"), "-d", "-i", "/dev/fd/3"], third=self._key.encode())
        # Only this asks for the passphrase: the import takes a protected key as it is, and has no descriptor 3.
        unlock = ["--pinentry-mode", "loopback", "--passphrase-fd", "3"] if self._passphrase else []
        return Program(self._gpg() + unlock + ["--decrypt"], third=self._passphrase.encode())

    def decrypt(self, path: str, target: str, text: str = "") -> Tap:
        """Make a new file of what a file holds. Returns its size and hash as a tap has them. Raises Failed."""
        tap = Tap()
        fd = opened(path, follow=False)
        try:
            into_file(self._host, target, [self.program(), tap], source=fd, text=text, total=os.fstat(fd).st_size)
        finally:
            os.close(fd)
        return tap

    def _gpg(self) -> List[str]:
        return [program(self._host, "gpg"), "--homedir", self._home, "--batch", "--no-tty", "--quiet"]


def wanted(host: Host, wish: Optional[Dict[str, Any]]) -> Optional[Cipher]:
    """The cipher that the parameter `encrypt` asks for; None without it. Fails when it is wrong."""
    if not wish:
        return None
    extra = sorted(set(wish) - {"method", "recipients"})
    if extra:
        host.fail("encrypt has method and recipients, no %s" % extra[0])
    recipients = wish.get("recipients") or []
    recipients = [recipients] if isinstance(recipients, str) else [str(recipient) for recipient in recipients]
    method = wish.get("method") or "age"
    if method not in SUFFIXES:
        host.fail("encrypt.method is %r; it can be %s" % (method, " or ".join(SUFFIXES)))
    if not recipients:
        host.fail("encrypt.recipients is empty: give the public key of somebody who can decrypt")
    for recipient in recipients:
        if recipient.startswith("-") and not recipient.startswith(ARMOUR):
            host.fail("encrypt.recipients: %r is no public key" % recipient)
        if "PRIVATE KEY" in recipient or recipient.startswith("AGE-SECRET-KEY-"):
            host.fail("encrypt.recipients holds a private key; give the public one, and keep that one elsewhere")
    return Cipher(host, method, recipients)


def shown(recipient: str) -> str:
    """A recipient in a line."""
    return recipient if "\n" not in recipient.strip() else "a public key given as text"


def program(host: Host, name: str) -> str:
    path = host.which(name)
    if path is None:
        host.fail("there is no %s on this host; install its package" % name)
    return path


def private_folder(host: Host) -> str:
    """A folder of mode 0700 in memory, which goes with the task."""
    for parent in ("/run", "/dev/shm"):
        if os.access(parent, os.W_OK):
            return host.temporary.folder(parent)
    return host.fail("neither /run nor /dev/shm can be written to: a key would come to lie on a disk")
