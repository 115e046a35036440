"""numpy's .npz, as far as ours need it: little-endian float32, float64, int64 or bytes, C order."""

import ast
import math
import struct
import zipfile
import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path

from .bad_input import BadInput

CODES = {"<f4": "f", "<f8": "d", "<i8": "q", "|u1": "B"}


@dataclass
class Array:
    shape: tuple
    values: array  # flat, C order


def read_npz(file: Path) -> dict:
    """Name to Array."""
    try:
        with zipfile.ZipFile(file) as archive:
            return {name.removesuffix(".npy"): _array(file, name, archive.read(name)) for name in archive.namelist()}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise BadInput(f"{file}: not a whole .npz: {error}. Make it again, or move it away.") from None


def _array(file, name, data):
    try:
        if data[:6] != b"\x93NUMPY":
            raise ValueError("it is not a .npy")
        long = data[6] > 1
        size = struct.unpack_from("<I" if long else "<H", data, 8)[0]
        begin = 12 if long else 10
        header = ast.literal_eval(data[begin : begin + size].decode("latin1"))
        shape, code = tuple(header["shape"]), CODES.get(header["descr"])
        if code is None or header["fortran_order"]:
            raise ValueError(f"of type {header['descr']}, Fortran order {header['fortran_order']}; read are {', '.join(CODES)} in C order")
        values = array(code)
        body = data[begin + size :]
        if len(body) != math.prod(shape) * values.itemsize:
            raise ValueError(f"{len(body)} bytes of values for shape {shape}")
        values.frombytes(body)
    except (ValueError, SyntaxError, KeyError, TypeError, IndexError, struct.error) as error:
        raise BadInput(f"{file}: array '{name}': {error}. Make the file again, or move it away.") from None
    return Array(shape, values)
