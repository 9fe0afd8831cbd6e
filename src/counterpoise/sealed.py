"""JSON files that hold a digest of their own text, so that a change in them is noticed."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise import files

Content = dict[str, Any]  # of JSON, as it is read
_MOST_BYTES = 2**28
_NO_DIGEST = "0" * 64
_SEAL = re.compile(r'^("sha256": ")[0-9a-f]{64}', re.MULTILINE)  # a line is a key of ours


class Damaged(ValueError):
    """Files of a study or of a finished run that were changed or damaged."""


class OtherFormat(Damaged):
    """A file that is whole, but was written by another version."""


def seal(content: Mapping[str, object], version: int) -> str:
    """Return JSON, a line a key, that holds the format and a digest of its own text.

    The digest is taken with 64 zeros in its place.
    """
    text = to_json({**content, "format": version, "sha256": _NO_DIGEST})
    return _SEAL.sub(rf"\g<1>{digest_of(text)}", text, 1)


def unseal(path: Path, version: int) -> Content:
    """Return the content of a file that `seal` made.

    Raises:
        OSError: there is none, or it cannot be read.
        Damaged: its content has changed.
        OtherFormat: another version wrote it.
    """
    try:
        text = files.read(path, most=_MOST_BYTES).decode("utf-8", "replace")
    except ValueError as error:
        raise Damaged(str(error)) from error
    sealed = _SEAL.search(text)
    written = sealed[0][-64:] if sealed else None
    if written != digest_of(_SEAL.sub(rf"\g<1>{_NO_DIGEST}", text, 1)):
        why = "its text has changed" if sealed else "an older version wrote it, or it has changed"
        raise Damaged(f"{path} does not hold the digest of its own text: {why}")
    try:
        content = json.loads(text)
        found = content.pop("format")
        del content["sha256"]
    except (ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
        raise Damaged(f"{path} is not what counterpoise writes: {error}") from error
    if found != version:
        raise OtherFormat(
            f"{path} is of format {found}, but this counterpoise reads {version}: use the version "
            "that wrote it, or another folder"
        )
    return content


def to_json(value: object) -> str:
    """Return JSON with keys in order, the same for equal values; NaN and infinity become null.

    A mapping gets a line a key, a list a line an item.
    """
    value = finite(value)
    if isinstance(value, dict):
        lines = [f"{_line(str(k))}: {_line(value[k])}" for k in sorted(value)]
        return "{\n" + ",\n".join(lines) + "\n}\n"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_line, value)) + "\n]\n"
    return _line(value) + "\n"


def _line(value: object) -> str:
    line = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", line)


def finite(value: object) -> object:
    """Return a value of JSON in which NaN and infinity are None."""
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def digest_of(content: bytes | str) -> str:
    """Return the SHA-256 of bytes, or of a text in UTF-8."""
    content = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()
