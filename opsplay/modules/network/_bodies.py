"""Writing the body of a request: JSON, forms, and forms with files."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

from opsplay.agent import files


def written(body: Any, form: str) -> Tuple[str, Any]:
    """The content type (empty for none) and the bytes of a body; None for no body. Raises ValueError, OSError."""
    if body is None:
        return "", None
    if form == "json":
        return "application/json", as_json(body)
    if form == "form-urlencoded":
        return "application/x-www-form-urlencoded", urlencoded(body)
    if form == "form-multipart":
        return multipart(body)
    if isinstance(body, (dict, list)):
        # As Ansible writes what a template made of it.
        import json

        body = json.dumps(body)
    return "", str(body).encode("utf-8", "surrogateescape")


def as_json(body: Any) -> bytes:
    """A text is JSON already."""
    import json

    text = body if isinstance(body, str) else json.dumps(body, sort_keys=True)
    return text.encode("utf-8", "surrogateescape")


def urlencoded(body: Any) -> bytes:
    """A dictionary, or a list of names and values; a list as a value gives its name more than once."""
    from urllib.parse import urlencode

    if isinstance(body, str):
        return body.encode("utf-8", "surrogateescape")
    try:
        pairs = body if isinstance(body, dict) else [(name, value) for name, value in body]
        return urlencode(pairs, doseq=True).encode("ascii")
    except (TypeError, ValueError) as problem:
        raise ValueError("body_format form-urlencoded needs a dictionary or a list of pairs: %s" % problem)


def multipart(body: Any) -> Tuple[str, bytes]:
    """A form (RFC 7578): a value is a text, or a dictionary of filename, content, mime_type and multipart_encoding."""
    if not isinstance(body, dict):
        raise ValueError("body_format form-multipart needs a dictionary of fields")
    boundary = os.urandom(16).hex()
    parts: List[bytes] = []
    for name, value in body.items():
        field = value if isinstance(value, dict) else {"content": value, "mime_type": "text/plain"}
        parts += [b"--" + boundary.encode(), *part(str(name), field)]
    parts += [b"--" + boundary.encode() + b"--", b""]
    return "multipart/form-data; boundary=" + boundary, b"\r\n".join(parts)


def part(name: str, field: Dict[str, Any]) -> List[bytes]:
    """The lines of one field."""
    file_name, data = field.get("filename"), field.get("content")
    # What was in a file, here or on the control side, may be anything: it is encoded unless the task says otherwise.
    is_encoded = not isinstance(data, str) and field.get("multipart_encoding", "base64") == "base64"
    if data is None:
        if not file_name:
            raise ValueError("the field %r needs a content or a filename" % name)
        data = files.read_whole(os.path.expanduser(str(file_name)))
    if not isinstance(data, bytes):
        data = str(data).encode("utf-8", "surrogateescape")
    disposition = "form-data; name=%s" % quoted(name)
    if file_name:
        disposition += "; filename=%s" % quoted(os.path.basename(str(file_name)))
    lines = ["Content-Disposition: " + disposition, "Content-Type: " + kind_of(field, file_name)]
    if file_name and is_encoded:
        from base64 import encodebytes

        lines.append("Content-Transfer-Encoding: base64")
        data = encodebytes(data).rstrip(b"\n").replace(b"\n", b"\r\n")
    return [*(line.encode("utf-8") for line in lines), b"", data]


def quoted(text: str) -> str:
    """A name within quotes; line ends and quotes are written as browsers do."""
    return '"%s"' % text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def kind_of(field: Dict[str, Any], file_name: Any) -> str:
    if field.get("mime_type"):
        return str(field["mime_type"])
    from mimetypes import guess_type

    return guess_type(str(file_name or ""), strict=False)[0] or "application/octet-stream"
