#!/usr/bin/env python3
"""Turns pytorch-fid's public Inception weights into the safetensors file that cfm_eval_fid reads.

    ~/.cache/cfm/torch-2.15.0/bin/python scripts/convert_inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors

The .pth is what pytorch-fid downloads at its first use
(https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth).
The file is read without running code in it (weights_only), its SHA-256 is kept in the metadata.
"""
import argparse
import hashlib

import torch
from safetensors.torch import save_file

PUBLIC = "6726825d"  # how the SHA-256 of the public file begins, by its own name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pth", help="pt_inception-2015-12-05-6726825d.pth")
    parser.add_argument("out", help="FILE.safetensors")
    arguments = parser.parse_args()
    with open(arguments.pth, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(PUBLIC):
        print(f"note: {arguments.pth} is not the public file (SHA-256 {digest}); FIDs of other weights are other numbers")
    state = torch.load(arguments.pth, map_location="cpu", weights_only=True)
    tensors = {
        name: tensor.float().contiguous()
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked") and not name.startswith("AuxLogits.")
    }
    if "Mixed_7c.branch_pool.conv.weight" not in tensors or tuple(tensors.get("fc.weight", torch.empty(0)).shape) != (1008, 2048):
        raise SystemExit(f"{arguments.pth} is not the FID's Inception-v3: expected Mixed_7c.branch_pool.conv.weight and an fc.weight of (1008, 2048)")
    save_file(tensors, arguments.out, {"format": "pt", "cfm_features": "inception", "source_sha256": digest})
    print(f"{arguments.out}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values()):,} numbers")


if __name__ == "__main__":
    main()
