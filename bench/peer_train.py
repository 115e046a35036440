"""The plain PyTorch loop that a user would otherwise write: same network, data, precision, optimizer, EMA, clipping."""

import argparse
import contextlib
import glob
import json
import os
import time

import h5py
import torch
from peer_unet import unet

NETWORKS = {
    "cifar10_torchcfm": dict(
        image_size=32, in_channels=3, out_channels=3, model_channels=128, num_res_blocks=2, channel_mult=[1, 2, 2, 2],
        attention_resolutions=[16], num_heads=4, num_head_channels=64, use_new_attention_order=False,
        use_scale_shift_norm=False, resblock_updown=False, conv_resample=True, dropout=0.1, num_classes=0, time_scale=1.0,
    ),
    "digits": dict(
        image_size=8, in_channels=1, out_channels=1, model_channels=64, num_res_blocks=2, channel_mult=[1, 1],
        attention_resolutions=[4], num_heads=4, num_head_channels=32, use_new_attention_order=True,
        use_scale_shift_norm=True, resblock_updown=False, conv_resample=True, dropout=0.1, num_classes=11, time_scale=1000.0,
    ),
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", required=True)
parser.add_argument("--events", required=True, help="a line of JSON a step is written here")
parser.add_argument("--batch", type=int, required=True, help="images a rank")
parser.add_argument("--network", default="cifar10_torchcfm", choices=NETWORKS)
parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--channels_last", action="store_true")
parser.add_argument("--model_channels", type=int, default=0, help="0: the network's own")
parser.add_argument("--steps", type=int, default=10**9)
parser.add_argument("--save", default="", help="file of torch.save")
parser.add_argument("--save_every", type=int, default=0)
parser.add_argument("--ddp", action="store_true", help="under torchrun, over Gloo")
arguments = parser.parse_args()

torch.set_num_threads(arguments.threads)
rank = 0
if arguments.ddp:
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
torch.manual_seed(rank)

images, labels = [], []
for path in sorted(glob.glob(f"{arguments.data}/*.h5")):
    with h5py.File(path) as file:
        images.append(torch.from_numpy(file["imgs"][:]))
        labels.append(torch.from_numpy(file["labels"][:]))
dataset = torch.utils.data.TensorDataset(torch.cat(images), torch.cat(labels))
sampler = torch.utils.data.distributed.DistributedSampler(dataset) if arguments.ddp else None
loader = torch.utils.data.DataLoader(
    dataset, batch_size=arguments.batch, shuffle=sampler is None, sampler=sampler, drop_last=True
)


def batches():
    while True:
        yield from loader


config = dict(NETWORKS[arguments.network])
if arguments.model_channels:
    config["model_channels"] = arguments.model_channels
net = unet(config)
memory_format = torch.channels_last if arguments.channels_last else torch.contiguous_format
net = net.to(memory_format=memory_format)
parameters = list(net.parameters())
averages = [p.detach().clone() for p in parameters]
model = torch.nn.parallel.DistributedDataParallel(net, gradient_as_bucket_view=True) if arguments.ddp else net
optimizer = torch.optim.Adam(parameters, lr=2e-4, fused=True)
events = open(arguments.events, "w", buffering=1) if rank == 0 else None

for step, (images, labels) in zip(range(1, arguments.steps + 1), batches()):
    start = time.monotonic()
    for group in optimizer.param_groups:
        group["lr"] = 2e-4 * min(step / 5000, 1)
    x1 = (images + torch.rand(images.shape)) / 128 - 1
    if arguments.network != "digits":
        x1 = torch.where(torch.rand(len(x1), 1, 1, 1) < 0.5, x1.flip(3), x1)
    x0 = torch.randn_like(x1)
    t = torch.rand(len(x1))
    x_t = t[:, None, None, None] * x1 + (1 - t[:, None, None, None]) * x0
    autocast = torch.autocast("cpu", torch.bfloat16) if arguments.precision == "bf16" else contextlib.nullcontext()
    with autocast:
        v = model(x_t.contiguous(memory_format=memory_format), t, labels if config["num_classes"] else None)
        loss = (v.float() - (x1 - x0)).square().mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
    optimizer.step()
    with torch.no_grad():
        torch._foreach_lerp_(averages, parameters, 1e-4)
    optimizer.zero_grad(set_to_none=not arguments.ddp)
    if events:
        seconds = time.monotonic() - start
        line = {"event": "step", "step": step, "loss": loss.item(), "step_seconds": seconds, "time": time.time()}
        events.write(json.dumps(line) + "\n")
    if rank == 0 and arguments.save_every and step % arguments.save_every == 0:
        state = {"step": step, "model": net.state_dict(), "ema": averages, "optimizer": optimizer.state_dict()}
        torch.save(state, arguments.save)
