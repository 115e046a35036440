"""State dicts as guided-diffusion, flow_matching and torchcfm save them, of U-Nets made of torch.nn modules, with what these networks give.

    state_dicts.py FOLDER SCRIPT

For every case NAME: FOLDER/NAME.pt (or .pth, or .safetensors), NAME.flags, a line each for cfm_checkpoint import, NAME.io.safetensors with
x, t (0 noise, 1 data), maybe labels, and y, and NAME.other.io.safetensors where the file holds another part. Then runs SCRIPT
(scripts/convert_state_dict.py) as a person would, but in this process, which has torch at hand: OUT.log says how each run ended and what it said.
"""

import argparse
import contextlib
import io
import pathlib
import runpy
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "models"))
from unet_reference import UNet  # noqa: E402

BASE = {
    "image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 64, "num_res_blocks": 1, "channel_mult": [1, 2],
    "attention_resolutions": [4], "num_heads": 2, "num_head_channels": -1, "num_heads_upsample": -1, "use_new_attention_order": True,
    "use_scale_shift_norm": True, "resblock_updown": True, "conv_resample": True, "num_classes": 0, "null_class": False, "time_scale": 1,
}
FLAGS = ("image_size", "model_channels", "num_res_blocks", "channel_mult", "attention_resolutions", "num_heads", "num_head_channels",
         "num_heads_upsample", "use_new_attention_order", "use_scale_shift_norm", "resblock_updown", "conv_resample", "num_classes", "null_class")
folder = pathlib.Path(sys.argv[1])


def network(**changes):
    config = BASE | changes
    net = UNet(config)
    with torch.no_grad():
        for parameter in net.parameters():  # nothing is zero or one
            parameter.add_(0.05 * torch.randn_like(parameter))
    return config, net.eval()


def flags_of(config, **more):
    def text(value):
        if isinstance(value, list):
            return ",".join(map(str, value))
        return str(value).lower() if isinstance(value, bool) else str(value)

    every = {name: config[name] for name in FLAGS} | more
    return "".join(f"--{name}={text(value)}\n" for name, value in every.items())


def write_io(name, config, net, fed):
    """`fed`: what the network is given for t, its own time_scale being 1."""
    channels, size = config["in_channels"], config["image_size"]
    x = torch.randn(5, channels, size, size)
    t = torch.tensor([0.0, 0.125, 0.5, 0.859375, 1.0])
    labels = None
    if config["num_classes"]:
        labels = torch.tensor([0, 1, 2, config["num_classes"] - 1, config["num_classes"] - (0 if config["null_class"] else 1)])
    with torch.no_grad():
        y = net(x, fed(t), labels)[:, :channels].contiguous()
    save_file({"x": x, "t": t, "y": y} | ({"labels": labels} if labels is not None else {}), folder / f"{name}.io.safetensors")


def guided_diffusion():
    # A flat state dict, labels without a null class, fed thousandths.
    config, net = network(num_classes=4, num_head_channels=32)
    torch.save(net.state_dict(), folder / "guided_diffusion.pt")
    (folder / "guided_diffusion.flags").write_text(flags_of(config, time_scale=1000))
    write_io("guided_diffusion", config, net, lambda t: 1000 * t)


def guided_diffusion_ddpm():
    # As published: noise and a learnt variance, time from data to noise in steps 0..999, legacy attention.
    config, net = network(out_channels=6, use_new_attention_order=False, num_heads=4)
    torch.save(net.state_dict(), folder / "guided_diffusion_ddpm.pt")
    more = {"time_scale": 1000, "time_reversed": True, "time_shift": -1, "learn_sigma": True, "path": "vp", "objective": "ddpm",
            "ema_decay": 0.9999, "step": 540000}
    (folder / "guided_diffusion_ddpm.flags").write_text(flags_of(config, **more))
    write_io("guided_diffusion_ddpm", config, net, lambda t: 1000 * (1 - t) - 1)


def flow_matching():
    # EMA(model): raw weights, their number of updates, and the averages by number; beside the optimizer and the flags.
    shape = {"num_classes": 3, "null_class": True, "resblock_updown": False, "conv_resample": False, "num_heads": 1, "num_res_blocks": 2}
    config, net = network(**shape)
    _, average = network(**shape)
    state = {f"model.{name}": tensor for name, tensor in net.state_dict().items()}
    state = {"num_updates": torch.tensor(7)} | state
    state |= {f"shadow_params.{i}": parameter.detach() for i, parameter in enumerate(average.parameters())}
    optimizer = torch.optim.AdamW(net.parameters())
    torch.save({"model": state, "optimizer": optimizer.state_dict(), "epoch": 3, "scaler": {"scale": 1.0},
                "args": argparse.Namespace(dataset="cifar10", use_ema=True, output_dir="out")}, folder / "flow_matching.pth")
    (folder / "flow_matching.flags").write_text(flags_of(config, time_scale=1, sigma_min=0, ema_decay=0.999))
    write_io("flow_matching", config, average, lambda t: t)
    write_io("flow_matching.other", config, net, lambda t: t)


def torchcfm():
    # Two networks, as DistributedDataParallel names their tensors.
    shape = {"use_scale_shift_norm": False, "resblock_updown": False, "use_new_attention_order": False, "num_head_channels": 16, "num_heads": 4}
    config, net = network(**shape)
    _, average = network(**shape)
    wrapped = [{f"module.{name}": tensor for name, tensor in each.state_dict().items()} for each in (net, average)]
    torch.save({"net_model": wrapped[0], "ema_model": wrapped[1], "sched": {"last_epoch": 3}, "optim": torch.optim.Adam(net.parameters()).state_dict(),
                "step": 400000}, folder / "torchcfm.pt")
    (folder / "torchcfm.flags").write_text(flags_of(config, time_scale=1, sigma_min=0, ema_decay=0.9999, step=400000))
    write_io("torchcfm", config, average, lambda t: t)
    write_io("torchcfm.other", config, net, lambda t: t)
    # The same, already flat, as safetensors, half of it in half precision.
    flat = {f"net_model.{name}": tensor.half() for name, tensor in wrapped[0].items()}
    flat |= {f"ema_model.{name}": tensor.clone() for name, tensor in wrapped[1].items()}
    save_file(flat, folder / "wrapped.safetensors")
    (folder / "wrapped.flags").write_text((folder / "torchcfm.flags").read_text())


def digits():
    # Of the digits' shape, for cfm_train and cfm_sample to go on with.
    config, net = network(in_channels=1, out_channels=1, model_channels=32, num_classes=10, null_class=True)
    torch.save(net.state_dict(), folder / "digits.pt")
    (folder / "digits.flags").write_text(flags_of(config, time_scale=1, sigma_min=0))
    write_io("digits", config, net, lambda t: t)


def strange():
    torch.save({"weight": torch.zeros(3), "step": 4}, folder / "no_unet.pt")
    torch.save({"a": network()[1].state_dict(), "b": network()[1].state_dict()}, folder / "several.pt")
    torch.save({"model": pathlib.Path, "time_embed.0.weight": torch.zeros(3)}, folder / "code.pt")
    (folder / "torn.pt").write_bytes((folder / "digits.pt").read_bytes()[:1000])


def convert(pt, out, *more):
    said, code = io.StringIO(), 0
    sys.argv = ["convert_state_dict.py", str(folder / pt), str(folder / out), *more]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:  # as Python ends with it
            code = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
            if isinstance(end.code, str):
                said.write(end.code + "\n")
        except BaseException as error:
            code = 1
            said.write(f"Traceback: {error!r}\n")
    (folder / f"{out}.log").write_text(f"{code}\n{said.getvalue()}")


script = sys.argv[2]
torch.manual_seed(11)
torch.set_num_threads(1)
for make in (guided_diffusion, guided_diffusion_ddpm, flow_matching, torchcfm, digits, strange):
    make()
for name in ("guided_diffusion.pt", "guided_diffusion_ddpm.pt", "flow_matching.pth", "torchcfm.pt", "digits.pt"):
    convert(name, f"{name.partition('.')[0]}.state.safetensors")
convert("flow_matching.pth", "flow_matching.raw.safetensors", "--part=model.model")
convert("torchcfm.pt", "torchcfm.raw.safetensors", "--part=net_model")
convert("torchcfm.pt", "no_part.safetensors", "--part=ema")
for name in ("no_unet", "several", "code", "torn", "nowhere"):
    convert(f"{name}.pt", f"{name}.safetensors")
