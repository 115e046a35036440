"""What pytorch-fid's own modules make of the same weights and images: inception_reference.py FOLDER.

Reads FOLDER/weights.safetensors (names of the public weights) and FOLDER/images.safetensors (uint8 NCHW), writes
FOLDER/blocks.safetensors: the output of every block in float64, features and logits, and the resized images.
"""
import sys

import numpy as np
import pytorch_fid.inception
import torch
from safetensors.torch import load_file, save_file
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

BLOCKS = (
    "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3 Mixed_5b Mixed_5c Mixed_5d Mixed_6a Mixed_6b "
    "Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b Mixed_7c"
).split()


def tf1_bilinear(images, size):
    """TensorFlow 1's ResizeBilinear, pixel by pixel, in float32."""
    n, channels, height, width = images.shape
    out = np.empty((n, channels, size, size), np.float32)

    def places(length):
        scale = np.float32(length) / np.float32(size)
        for i in range(size):
            place = np.float32(i) * scale
            low = int(np.floor(place))
            yield low, min(low + 1, length - 1), np.float32(place - np.float32(low))

    columns = list(places(width))
    for row, (top, bottom, down) in enumerate(places(height)):
        for column, (left, right, across) in enumerate(columns):
            a, b = images[:, :, top, left].astype(np.float32), images[:, :, top, right].astype(np.float32)
            c, d = images[:, :, bottom, left].astype(np.float32), images[:, :, bottom, right].astype(np.float32)
            upper, lower = a + (b - a) * across, c + (d - c) * across
            out[:, :, row, column] = upper + (lower - upper) * down
    return out


folder = sys.argv[1]
images = load_file(f"{folder}/images.safetensors")["images"]
resized = tf1_bilinear(images.numpy(), 299)
theirs = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False).numpy()
assert np.abs(resized - theirs).max() <= 255e-5, f"the formula and torch-fidelity differ by {np.abs(resized - theirs).max()}"

weights = load_file(f"{folder}/weights.safetensors")
pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: weights
net = pytorch_fid.inception.fid_inception_v3().eval().double()
seen = {}
for name in BLOCKS:
    getattr(net, name).register_forward_hook(lambda _, __, output, name=name: seen.__setitem__(name, output))
wrapper = pytorch_fid.inception.InceptionV3
pytorch_fid.inception.fid_inception_v3 = lambda: net
with torch.no_grad():
    (pool,) = wrapper([3], resize_input=False, normalize_input=False)((torch.from_numpy(resized).double() - 128) / 128)
seen["pool"] = pool.flatten(1)
seen["logits"] = seen["pool"] @ net.fc.weight.T
seen["spatial"] = net.Mixed_6d.branch1x1(seen["Mixed_6c"])[:, :7].permute(0, 2, 3, 1).flatten(1).detach()
seen["resized"] = torch.from_numpy(resized)
save_file({name: tensor.contiguous() for name, tensor in seen.items()}, f"{folder}/blocks.safetensors")
