"""Vaults that ansible-vault made, recorded in vaults.json for the unit tests.

    python -m tests.oracle.vaults path/to/ansible-vault
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("vaults.json")

# Vault id, password, text.
TEXTS = (
    ("default", "a password", "hello"),
    ("default", "a password", "sixteen bytes ab"),
    ("default", "pässwörd", "several\nlines of\n\ntext\n"),
    ("prod", "a password", "{{ not }} a template: {% é €"),
    ("dev-1", "x", "a: 1\nb: [two]\n"),
    ("prod", "p" * 100, "long " * 500),
)


def encrypt(program: str, label: str, password: str, text: str) -> str:
    """What ansible-vault makes of a text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "password"
        file.write_text(password)
        command = [program, "encrypt", "--vault-id", f"{label}@{file}", "--output", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout


def decrypt(program: str, password: str, vault: str) -> str:
    """What ansible-vault finds in a vault."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "password"
        file.write_text(password)
        command = [program, "decrypt", "--vault-password-file", str(file), "--output", "-"]
        done = subprocess.run(command, input=vault, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    program = sys.argv[1]
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split("]")[0]
    vaults: list[dict[str, Any]] = [
        {"label": label, "password": password, "text": text, "vault": encrypt(program, label, password, text)}
        for label, password, text in TEXTS
    ]
    RECORD.write_text(json.dumps({"version": f"{version}]", "vaults": vaults}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
