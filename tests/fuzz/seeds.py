"""seeds.py tar|npz|pickle|read_plan|safetensors|manifest DIR: small whole files of every kind that is read, for a fuzzer to start from."""
import io
import json
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


def safetensors():
    from safetensors.numpy import save_file

    def raw(name, header, data=b""):
        (out / name).write_bytes(len(header).to_bytes(8, "little") + header.encode() + data)

    network = {"image_size": "8", "in_channels": "1", "out_channels": "1", "model_channels": "32", "num_res_blocks": "1",
               "channel_mult": "1,2", "attention_resolutions": "4", "num_heads": "2", "num_head_channels": "-1", "num_heads_upsample": "-1",
               "use_new_attention_order": "true", "use_scale_shift_norm": "true", "resblock_updown": "true", "conv_resample": "true",
               "zero_init": "true", "activation_checkpointing": "false", "dropout": "0.3", "num_classes": "3", "null_class": "true",
               "time_scale": "1000"}
    save_file({"a": images.astype(np.float32), "b": np.array([1, 2])}, out / "two", {"format": "pt"})
    save_file({"w": np.zeros((2, 0, 3), np.float16)}, out / "none", {f"model.{name}": value for name, value in network.items()})
    for kind, size in {"F64": 8, "F32": 4, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}.items():
        raw(f"of_{kind}", json.dumps({"x": {"dtype": kind, "shape": [1, 2], "data_offsets": [0, 2 * size]}}), bytes(2 * size))
    raw("empty", "{}")
    raw("scalar", '{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}} ', bytes(4))
    raw("huge", '{"x":{"dtype":"U8","shape":[0,4294967296,4294967295],"data_offsets":[0,0]}}')
    raw("twice", '{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')
    raw("deep", '{"x":' + "[" * 3000 + "]" * 3000 + "}")


def manifests():
    manifest = {"format_version": 1, "step": 12, "images_seen": 120, "optimizer_steps": 12, "seed": 2**64 - 1, "global_batch": 10,
                "data_groups": 1, "dataset_fingerprint": "ab", "dataset_images_fingerprint": "", "source_revision": "1-dirty",
                "model": {"image_size": "8"}, "flags": {"lr": "0.1", "run_dir": 'a "b" \u00e9'}, "last_bits": {"ranks": "2"},
                "files": [{"name": "model.safetensors", "bytes": 7, "xxh3_128_per_64_mib": ["00112233445566778899aabbccddeeff"]}],
                "manifest_xxh3_128": "00112233445566778899aabbccddeeff"}
    (out / "whole").write_text(json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    (out / "short").write_text(json.dumps(manifest | {"files": [], "flags": {}, "model": {}, "last_bits": {}}))
    for key, value in {"step": -1, "seed": 1.5, "format_version": 2, "files": {}, "flags": {"a": 1}, "bytes": 2**63}.items():
        (out / f"odd_{key}").write_text(json.dumps(manifest | {key: value}))
    (out / "deep").write_text('{"manifest_xxh3_128":"","a":' + "[" * 30000 + "]" * 30000 + "}")
    (out / "none").write_text("[]")


{"safetensors": safetensors, "manifest": manifests, "tar": tars, "npz": npzs, "pickle": pickles, "read_plan": read_plans}[kind]()
