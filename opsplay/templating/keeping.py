"""The lookup `password`: passwords that are made once and kept in files of the control side."""

from __future__ import annotations

import random
import secrets
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsplay.templating.filters.passwords import SALT_LENGTH, new_salt, password_hash
from opsplay.templating.reading import settings_of
from opsplay.templating.search import SearchPath, read

SALT = " salt="
DEFAULT_CHARS = ("ascii_letters", "digits", ".,:-_")


def passwords(search: SearchPath, terms: list[Any], options: Mapping[str, Any]) -> list[Any]:
    """The passwords of files, each made when its file is not there; /dev/null keeps nothing."""
    return [_password(search, term, options) for term in terms]


def _password(search: SearchPath, term: Any, options: Mapping[str, Any]) -> str:
    name, settings = settings_of(term, options, ("length", "chars", "encrypt", "ident", "seed"))
    kind = settings.get("encrypt")
    length = 22 if kind in ("bcrypt", "blowfish") else SALT_LENGTH
    fresh = made(settings)
    if name == "/dev/null":
        return password_hash(fresh, kind, new_salt(length), ident=settings.get("ident")) if kind else fresh
    path = Path(search.base, name).expanduser()
    line = kept(path, fresh)
    if not kind:
        return line.partition(SALT)[0]
    if SALT not in line:
        line += SALT + new_salt(length)
        beside = written(path, line)
        beside.replace(path)
    plain, _, salt = line.partition(SALT)
    return password_hash(plain, kind, salt.split()[0], ident=settings.get("ident"))


def made(settings: Mapping[str, Any]) -> str:
    """A password of chance; of a seed always the same."""
    letters = letters_of(settings.get("chars", DEFAULT_CHARS))
    seed = settings.get("seed")
    chance = random.SystemRandom() if seed is None else random.Random(seed)
    return "".join(chance.choice(letters) for _ in range(int(settings.get("length", 20))))


def letters_of(chars: Any) -> str:
    """The letters that names of Python's `string` and letters by themselves stand for; two commas are a comma."""
    if isinstance(chars, str):
        comma = [","] if ",," in chars else []
        chars = [*comma, *filter(None, chars.split(","))]
    kinds = [str(kind) for kind in chars]
    return "".join(getattr(string, kind, kind) for kind in kinds)


def kept(path: Path, fresh: str) -> str:
    """The first line of a password's file, which is made when it is not there; the one who comes first decides."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        beside = written(path, fresh)
        try:
            path.hardlink_to(beside)
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    return read(str(path)).split("\n")[0]


def written(path: Path, line: str) -> Path:
    """A hidden file beside another that only its owner reads."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    beside.touch(mode=0o600, exist_ok=False)
    beside.write_text(line + "\n")
    return beside
