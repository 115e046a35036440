"""ADM's U-Net from torch.nn modules, as an oracle: written from its description, sharing nothing with models/.

    unet_reference.py FOLDER

FOLDER/cases.json lists cases. Case k has FOLDER/k.in.bin, raw float64: the parameters in the order of "parameters" (name,
shape), then x, t, labels, grad_out, and one dropout multiplier for every entry of "masks" (shape). Writes FOLDER/k.out.bin:
the output, then the gradients of sum(output * grad_out) in x and in every parameter; and FOLDER/names.json with the names
and shapes that this module's own state_dict has.
"""

import json
import math
import pathlib
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional


class Times(nn.Module):
    """Dropout with a mask that it is given."""

    def __init__(self, take_mask):
        super().__init__()
        self.take_mask = take_mask

    def forward(self, h):
        mask = self.take_mask()
        return h if mask is None else h * mask


class Residual(nn.Module):
    def __init__(self, c, take_mask, channels, out, resample=None):
        super().__init__()
        self.scale_shift = c["use_scale_shift_norm"]
        self.resample = resample or nn.Identity()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        width = 4 * c["model_channels"]
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * out if self.scale_shift else out))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out), nn.SiLU(), Times(take_mask), nn.Conv2d(out, out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x, emb):
        norm_silu, conv = self.in_layers[:2], self.in_layers[2]
        h = conv(self.resample(norm_silu(x)))
        e = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = torch.chunk(e, 2, dim=1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.resample(x)) + h


class Attention(nn.Module):
    def __init__(self, c, channels, heads):
        super().__init__()
        self.heads = channels // c["num_head_channels"] if c["num_head_channels"] != -1 else heads
        self.new_order = c["use_new_attention_order"]
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, emb):
        batch, channels = x.shape[:2]
        flat = x.reshape(batch, channels, -1)
        qkv = self.qkv(self.norm(flat))
        per_head = channels // self.heads
        heads = []
        for i in range(self.heads):
            if self.new_order:  # [all q | all k | all v], each by heads
                starts = [j * channels + i * per_head for j in range(3)]
            else:  # by heads, each [q | k | v]
                starts = [(3 * i + j) * per_head for j in range(3)]
            q, k, v = (qkv[:, s : s + per_head] for s in starts)
            fourth_root = math.pow(per_head, -0.25)
            weights = torch.softmax(torch.einsum("bct,bcs->bts", q * fourth_root, k * fourth_root), dim=-1)
            heads.append(torch.einsum("bts,bcs->bct", weights, v))
        return (flat + self.proj_out(torch.cat(heads, dim=1))).reshape(x.shape)


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, emb):
        return self.op(x)


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, emb):
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class Plain(nn.Module):
    """A module without an embedding."""

    def __init__(self, module):
        super().__init__()
        self.module = [module]  # no parameters, hence no names

    def forward(self, x, emb):
        return self.module[0](x)


class First(nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class Stack(nn.ModuleList):
    def forward(self, x, emb):
        for block in self:
            x = block(x, emb)
        return x


class UNet(nn.Module):
    def __init__(self, c, masks=()):
        super().__init__()
        self.c = c
        masks = iter(masks)

        def take_mask():
            return next(masks, None)

        base, mults, depth = c["model_channels"], c["channel_mult"], c["num_res_blocks"]
        width = 4 * base
        self.time_embed = nn.Sequential(nn.Linear(base, width), nn.SiLU(), nn.Linear(width, width))
        if c["num_classes"]:
            self.label_emb = nn.Embedding(c["num_classes"] + int(c["null_class"]), width)

        def down(channels):
            if c["resblock_updown"]:
                return Residual(c, take_mask, channels, channels, nn.AvgPool2d(2))
            return Down(channels) if c["conv_resample"] else Plain(nn.AvgPool2d(2))

        def up(channels):
            if c["resblock_updown"]:
                return Residual(c, take_mask, channels, channels, nn.Upsample(scale_factor=2, mode="nearest"))
            return Up(channels) if c["conv_resample"] else Plain(nn.Upsample(scale_factor=2, mode="nearest"))

        size, channels = c["image_size"], base * mults[0]
        heads = c["num_heads"]
        heads_up = heads if c["num_heads_upsample"] == -1 else c["num_heads_upsample"]
        self.input_blocks = nn.ModuleList([Stack([First(c["in_channels"], channels, 3, padding=1)])])
        kept = [channels]
        for level, mult in enumerate(mults):
            for _ in range(depth):
                blocks = [Residual(c, take_mask, channels, base * mult)]
                channels = base * mult
                if size in c["attention_resolutions"]:
                    blocks.append(Attention(c, channels, heads))
                self.input_blocks.append(Stack(blocks))
                kept.append(channels)
            if level != len(mults) - 1:
                self.input_blocks.append(Stack([down(channels)]))
                kept.append(channels)
                size //= 2
        self.middle_block = Stack(
            [
                Residual(c, take_mask, channels, channels),
                Attention(c, channels, heads),
                Residual(c, take_mask, channels, channels),
            ]
        )
        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(mults))):
            for i in range(depth + 1):
                blocks = [Residual(c, take_mask, channels + kept.pop(), base * mult)]
                channels = base * mult
                if size in c["attention_resolutions"]:
                    blocks.append(Attention(c, channels, heads_up))
                if level > 0 and i == depth:
                    blocks.append(up(channels))
                    size *= 2
                self.output_blocks.append(Stack(blocks))
        self.out = nn.Sequential(
            nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, c["out_channels"], 3, padding=1)
        )

    def forward(self, x, t, labels=None):
        half = self.c["model_channels"] // 2
        i = torch.arange(half, dtype=t.dtype)
        angles = self.c["time_scale"] * t[:, None] * torch.exp(-math.log(10000) * i / half)[None]
        emb = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        if labels is not None:
            emb = emb + self.label_emb(labels)
        kept = []
        h = x
        for block in self.input_blocks:
            h = block(h, emb)
            kept.append(h)
        h = self.middle_block(h, emb)
        for block in self.output_blocks:
            h = block(torch.cat([h, kept.pop()], dim=1), emb)
        return self.out(h)


def run_case(folder, number, case):
    values = numpy.fromfile(folder / f"{number}.in.bin", dtype=numpy.float64)
    at = 0

    def take(shape):
        nonlocal at
        size = math.prod(shape)
        tensor = torch.from_numpy(values[at : at + size].reshape(shape).copy())
        at += size
        return tensor

    c, batch = case["config"], case["batch"]
    weights = {name: take(shape) for name, shape in case["parameters"]}
    x = take([batch, c["in_channels"], c["image_size"], c["image_size"]]).requires_grad_()
    t = take([batch])
    labels = take([batch]).long() if c["num_classes"] else None
    grad_out = take([batch, c["out_channels"], c["image_size"], c["image_size"]])
    masks = [take(shape) for shape in case["masks"]]
    assert at == values.size, "the input file is longer than the case says"
    net = UNet(c, masks).double()
    net.load_state_dict(weights)  # strict
    out = net(x, t, labels)
    out.backward(grad_out)
    parameters = dict(net.named_parameters())
    results = [out.detach(), x.grad] + [parameters[name].grad for name, _ in case["parameters"]]
    numpy.concatenate([r.numpy().ravel() for r in results]).tofile(folder / f"{number}.out.bin")
    return [[name, list(p.shape)] for name, p in net.named_parameters()]


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    cases = json.loads((folder / "cases.json").read_text())
    names = [run_case(folder, number, case) for number, case in enumerate(cases)]
    (folder / "names.json").write_text(json.dumps(names))


if __name__ == "__main__":
    main()
