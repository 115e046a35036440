"""seeds.py tar|npz|pickle|read_plan DIR: small whole files of every kind that is read, for a fuzzer to start from."""
import io
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np

kind, out = sys.argv[1], Path(sys.argv[2])
images = np.arange(2 * 3 * 2 * 2, dtype=np.uint8).reshape(2, 12) * 9


def tars():
    for name, form in {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}.items():
        with tarfile.open(out / name, "w", format=form) as tar:
            for path in ("n01/a.JPEG", "n01/" + "b" * 90 + ("/" + "c" * 90) + ".png"):
                member = tarfile.TarInfo(path)
                member.size = 5
                if form == tarfile.PAX_FORMAT:
                    member.pax_headers = {"size": "5", "comment": "x"}
                tar.addfile(member, io.BytesIO(b"bytes"))
            folder = tarfile.TarInfo("n02")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
    with tarfile.open(out / "long", "w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo("d/" * 200 + "a.png")
        tar.addfile(member)


def npzs():
    labels = np.array([1, 2])
    np.savez(out / "stored", images=images, labels=labels)
    np.savez_compressed(out / "deflated", images=images, labels=labels)
    with zipfile.ZipFile(out / "zip64", "w") as archive:
        with archive.open("data.npy", "w", force_zip64=True) as file:
            np.save(file, images)
        archive.comment = b"a comment"
    np.save(out / "plain", images)
    np.lib.format.write_array(open(out / "version2", "wb"), images.astype(np.float64), version=(2, 0))


def pickles():
    for protocol in (2, 3, 4, 5):
        for name, batch in {"lists": {"data": images, "labels": [1, 1000], "mean": images.mean(0)},
                            "arrays": {b"data": images, b"labels": np.array([1, 2]), b"filenames": ["a", "b"]},
                            "scalars": {"data": images, "labels": [np.int64(3), np.uint8(4)]}}.items():
            (out / f"{name}{protocol}").write_bytes(pickle.dumps(batch, protocol))
    # numpy 1 and Python 2 call the same things by other names.
    for file in list(out.glob("*[0-9]")):
        (out / (file.name + "_numpy1")).write_bytes(file.read_bytes().replace(b"numpy._core.", b"numpy.core."))


def read_plans():
    # As read_plan_fuzz.cpp decodes them: type, flags, storage, shape, then what these ask for.
    for name, shape in {"chw": (9, 3, 4, 4), "hwc": (9, 4, 4, 3), "grey": (9, 4, 4), "planar": (9, 48)}.items():
        for storage in (0, 1, 2, 3):
            head = bytes([0, 0xF8, storage, len(shape), *shape])
            (out / f"{name}_{storage}").write_bytes(head + bytes([96]) * 8 + bytes(range(64)))


{"tar": tars, "npz": npzs, "pickle": pickles, "read_plan": read_plans}[kind]()
