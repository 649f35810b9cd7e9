"""How long a Matroska or WebM file says it is (RFC 8794, EBML; RFC 9559, Matroska)."""

from __future__ import annotations

from pathlib import Path

_HEADER_ID = b"\x1a\x45\xdf\xa3"
_SEGMENT_ID = b"\x18\x53\x80\x67"
_HEADER_MOST_BYTES = 4096


def promised_bytes(path: Path) -> int | None:
    """Where the file's one segment should end; None where it does not say, as in a recording that was not closed."""
    try:
        with path.open("rb") as file:
            beginning = file.read(_HEADER_MOST_BYTES)
    except OSError:
        return None
    header_end = _element_end(beginning, 0, _HEADER_ID)
    return None if header_end is None else _element_end(beginning, header_end, _SEGMENT_ID)


def _element_end(data: bytes, position: int, element_id: bytes) -> int | None:
    """The end of the element at ``position``; its size is a number of 1 to 8 bytes, their count in the leading bits."""
    start = position + len(element_id)
    if data[position:start] != element_id or start >= len(data) or data[start] == 0:
        return None
    length = 9 - data[start].bit_length()
    value_mask = (1 << 7 * length) - 1
    size = int.from_bytes(data[start : start + length], "big") & value_mask
    return None if size == value_mask else start + length + size
