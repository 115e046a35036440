#!/usr/bin/env python3
"""Turns PyTorch files of guided-diffusion, flow_matching and torchcfm into safetensors that cfm_checkpoint import reads.

    ~/.cache/cfm/torch-2.15.0/bin/python scripts/convert_state_dict.py otcfm_cifar10_weights_step_400000.pt state.safetensors
    cfm_checkpoint import --from=state.safetensors --out=otcfm.safetensors --image_size=32 ...

Takes one U-Net (names as guided-diffusion's) of what the file holds, by --part; without it the average of the weights if
there is one. The names lose what stands before them ("module.", "model."). No code in the file is run (weights_only).

    guided-diffusion   modelNNNNNN.pt, ema_0.9999_NNNNNN.pt: a flat state dict
    flow_matching      checkpoint-E.pth: parts model (or model.model and model.shadow_params, the average, with --use_ema)
    torchcfm           parts net_model, ema_model
"""
import argparse
import collections
import hashlib
import pathlib
import pickle
import sys

import safetensors
import torch
from safetensors.torch import save_file

ANCHOR = "time_embed.0.weight"  # every such U-Net has one
SHADOWS = "shadow_params"


class Refused(Exception):
    """It would fail again the same way: exit code 2."""


def read(path):
    """The file's content; argparse's Namespace, in which flow_matching keeps its flags, is let in."""
    safe = [argparse.Namespace, collections.OrderedDict, pathlib.PosixPath]
    try:
        with torch.serialization.safe_globals(safe):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise Refused(f"{path}: there is no such file") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Refused(f"{path} is no PyTorch file that can be read without running code in it: {reason}") from None


def dicts_of_tensors(value, path=""):
    """(path, state dict) of every mapping that holds tensors, however deep it lies."""
    if not isinstance(value, collections.abc.Mapping):
        return
    tensors = {name: tensor for name, tensor in value.items() if isinstance(name, str) and isinstance(tensor, torch.Tensor)}
    if tensors:
        yield path, tensors
    for name, child in value.items():
        yield from dicts_of_tensors(child, f"{path}.{name}" if path else str(name))


def part_name(path, prefix):
    """ema_model of ema_model: module.time_embed...; model.model of model: model.time_embed..."""
    words = [word for word in [*path.split("."), *prefix.split(".")] if word and word != "module"]
    return ".".join(words)


def parts_of(content):
    """U-Nets by part: state dicts by guided-diffusion's names."""
    parts = {}
    for path, tensors in dicts_of_tensors(content):
        prefixes = [name.removesuffix(ANCHOR) for name in tensors if name.endswith(ANCHOR)]
        for prefix in prefixes:
            longer = [other for other in prefixes if other != prefix and other.startswith(prefix)]
            part = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()
                    if name.startswith(prefix) and not any(name.startswith(other) for other in longer)}
            above = prefix.removesuffix("module.").removesuffix("model.")
            shadows = shadow_part(tensors, above, prefix)
            if shadows:
                parts[part_name(path, above + SHADOWS)] = shadows
            parts[part_name(path, prefix)] = part
    return parts


def shadow_part(tensors, above, prefix):
    """flow_matching's average: shadow_params.0, 1, ... in the order of the model's parameters, which stand in the same dict."""
    shadows = sorted((name for name in tensors if name.startswith(f"{above}{SHADOWS}.")), key=lambda name: int(name.rpartition(".")[2]))
    if not shadows:
        return None
    names = [name for name in tensors if name.startswith(prefix)]
    if len(names) != len(shadows):
        raise Refused(f"{len(shadows)} {SHADOWS} for {len(names)} tensors of {prefix or 'the model'}: which is whose cannot be told")
    for name, shadow in zip(names, shadows):
        if tensors[name].shape != tensors[shadow].shape:
            raise Refused(f"{shadow} is {list(tensors[shadow].shape)}, {name}, which stands in its place, {list(tensors[name].shape)}: "
                          "which is whose cannot be told")
    return {name.removeprefix(prefix): tensors[shadow] for name, shadow in zip(names, shadows)}


def is_average(part):
    return SHADOWS in part or any(word.startswith("ema") for word in part.split("."))


def chosen(parts, asked, path):
    if not parts:
        raise Refused(f"{path} holds no U-Net with guided-diffusion's names: no state dict in it has a name that ends in '{ANCHOR}'")
    listed = ", ".join(repr(part) for part in parts)
    if asked is not None:
        if asked not in parts:
            raise Refused(f"--part={asked}: {path} holds {listed}")
        return asked
    averages = [part for part in parts if is_average(part)]
    if len(parts) > 1 and len(averages) != 1:
        raise Refused(f"{path} holds {listed}: choose with --part")
    return averages[0] if averages else next(iter(parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pt", help="FILE.pt or FILE.pth")
    parser.add_argument("out", help="FILE.safetensors")
    parser.add_argument("--part", help="which U-Net of the file; the average if it is left out and there is one")
    try:
        convert(parser.parse_args())
    except Refused as error:
        print(f"convert_state_dict: {error}", file=sys.stderr)
        return 2
    return 0


def convert(arguments):
    parts = parts_of(read(arguments.pt))
    part = chosen(parts, arguments.part, arguments.pt)
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in parts[part].items()}
    with open(arguments.pt, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        save_file(tensors, arguments.out, {"format": "pt", "converted_from": pathlib.Path(arguments.pt).name,
                                           "converted_part": part, "source_sha256": digest})
    except (OSError, safetensors.SafetensorError) as error:
        raise Refused(f"{arguments.out} cannot be written: {error}") from None
    what = f"part {part!r}" + (f" (of {', '.join(repr(name) for name in parts)})" if len(parts) > 1 else "") if part else "the state dict that it is"
    print(f"{arguments.out}: {what} of {arguments.pt}, {len(tensors)} tensors, {sum(t.numel() for t in tensors.values()):,} numbers")


if __name__ == "__main__":
    sys.exit(main())
