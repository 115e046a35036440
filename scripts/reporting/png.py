"""PNG files: whole or not, and small ones made from bytes."""

import base64
import struct
import zlib
from pathlib import Path

from .bad_input import BadInput

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_png(file: Path) -> bytes:
    """The file's bytes, after a look at every chunk and its CRC."""
    data = file.read_bytes()
    if not data.startswith(SIGNATURE):
        raise BadInput(f"{file}: not a PNG (it begins with {data[:8]!r}). Move it away to report without it.")
    at, name = len(SIGNATURE), b""
    while name != b"IEND":
        end = at + 12
        if end <= len(data):
            end += struct.unpack_from(">I", data, at)[0]
        if end > len(data):
            raise BadInput(f"{file}: the PNG is cut short at byte {len(data)}. Move it away to report without it.")
        name = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise BadInput(f"{file}: the PNG is damaged: chunk {name!r} at byte {at} fails its CRC. Move it away.")
        at = end
    return data


def width_of(png: bytes) -> int:
    return struct.unpack_from(">I", png, 16)[0]


def _chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def encode_png(rows, channels, palette=None) -> bytes:
    """rows: equally long bytes, one a row of pixels, channels interleaved (1 grey, 3 colour); with a palette, a list of (red, green,
    blue), one byte a pixel that says which of them."""
    width = len(rows[0]) // channels
    kind = 3 if palette else 0 if channels == 1 else 2
    header = struct.pack(">IIBBBBB", width, len(rows), 8, kind, 0, 0, 0)
    colours = _chunk(b"PLTE", b"".join(map(bytes, palette))) if palette else b""
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return SIGNATURE + _chunk(b"IHDR", header) + colours + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
