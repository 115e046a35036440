#!/usr/bin/env python3
"""Turns pytorch-fid's public Inception weights into the safetensors file that cfm_eval_fid reads.

    ~/.cache/cfm/torch-2.15.0/bin/python scripts/convert_inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors

The .pth is what pytorch-fid downloads at its first use
(https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth).
The file is read without running code in it (weights_only), its SHA-256 is kept in the metadata. Exit code 2: it is something else.
"""
import argparse
import collections.abc
import hashlib
import pickle
import sys

import safetensors
import torch
from safetensors.torch import save_file

PUBLIC = "6726825d"  # how the SHA-256 of the public file begins, by its own name
CONVOLUTIONS = 94  # each with a batch norm; cfm_eval_fid knows the shape of every one
# Tensors of some depth, and of the head, which torchvision's own Inception-v3 has otherwise.
KNOWN = {"Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "Mixed_6d.branch1x1.conv.weight": (192, 768, 1, 1),
         "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1), "fc.weight": (1008, 2048), "fc.bias": (1008,)}


class Refused(Exception):
    """It would fail again the same way: exit code 2."""


def read(path):
    """The file's content, and its SHA-256."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return torch.load(path, map_location="cpu", weights_only=True), digest
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Refused(f"{path} is no PyTorch file that can be read without running code in it: {reason}") from None


def tensors_of(state, path):
    """What cfm_eval_fid reads of the state dict, as float32."""
    if not isinstance(state, collections.abc.Mapping):
        raise Refused(f"{path} holds a {type(state).__name__}, expected a state dict: names and tensors")
    tensors = {name: tensor for name, tensor in state.items() if not str(name).endswith("num_batches_tracked") and not str(name).startswith("AuxLogits.")}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            what = f"a tensor of {tensor.dtype}" if isinstance(tensor, torch.Tensor) else f"a {type(tensor).__name__}"
            raise Refused(f"{path}: {name!r} is {what}, expected a tensor of real numbers: give the state dict itself")
    problems = problems_of(tensors)
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise Refused(f"{path} is not the FID's Inception-v3: {'; '.join(problems[:5])}{more}")
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


def problems_of(tensors):
    problems = [f"{name} is {list(tensors[name].shape)}, expected {list(shape)}" if name in tensors else f"{name} is missing, expected {list(shape)}"
                for name, shape in KNOWN.items() if name not in tensors or tuple(tensors[name].shape) != shape]
    convolutions = [name.removesuffix(".conv.weight") for name in tensors if name.endswith(".conv.weight")]
    if len(convolutions) != CONVOLUTIONS:
        problems.append(f"there are {len(convolutions)} convolutions, expected {CONVOLUTIONS}")
    expected = {"fc.weight", "fc.bias", *(f"{each}.conv.weight" for each in convolutions)}
    for each in convolutions:
        width = list(tensors[f"{each}.conv.weight"].shape[:1])
        for part in ("weight", "bias", "running_mean", "running_var"):
            name = f"{each}.bn.{part}"
            expected.add(name)
            if name not in tensors or list(tensors[name].shape) != width:
                problems.append(f"{name} is {list(tensors[name].shape)}, expected {width}" if name in tensors else f"{name} is missing, expected {width}")
    return problems + [f"{name} is not expected" for name in tensors if name not in expected]


def convert(pth, out):
    state, digest = read(pth)
    tensors = tensors_of(state, pth)
    if not digest.startswith(PUBLIC):
        print(f"note: {pth} is not the public file (SHA-256 {digest}); FIDs of other weights are other numbers")
    try:
        save_file(tensors, out, {"format": "pt", "cfm_features": "inception", "source_sha256": digest})
    except (OSError, safetensors.SafetensorError) as error:
        raise Refused(f"{out} cannot be written: {error}") from None
    print(f"{out}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values()):,} numbers")


def main(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pth", help="pt_inception-2015-12-05-6726825d.pth")
    parser.add_argument("out", help="FILE.safetensors")
    arguments = parser.parse_args(words)
    try:
        convert(arguments.pth, arguments.out)
    except Refused as error:
        print(f"convert_inception: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
