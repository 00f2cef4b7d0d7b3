"""Files of a set as they are written: hashed, and encrypted where that is wanted, on their way to the disk."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from opsplay.agent import pipeline
from opsplay.agent.cipher import Cipher
from opsplay.agent.host import Host
from opsplay.agent.pipeline import Tap


def sealed(
    host: Host, folder: str, name: str, crypt: Optional[Cipher], first: List[Any], sides: List[Any], **options: Any
) -> Dict[str, Any]:
    """Write a stream to a file of the set, encrypted if wanted; the file as a manifest has it. Raises Failed.

    `first` are the programs that make the stream, `sides` the chains that read it on its way, before it is encrypted.
    """
    plain, cipher = Tap(sides=sides), Tap()
    steps = first + [plain] + ([crypt.program(), cipher] if crypt else [])
    name += crypt.suffix if crypt else ""
    pipeline.into_file(host, os.path.join(folder, name), steps, **options)
    last = cipher if crypt else plain
    entry = {"name": name, "size": last.size, "sha256": last.sha256}
    if crypt:
        entry.update(plain_size=plain.size, plain_sha256=plain.sha256)
    return entry
