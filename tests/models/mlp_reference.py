"""A velocity network of linear layers from torch.nn modules, as an oracle: shares nothing with models/.

    mlp_reference.py FOLDER

FOLDER/case.json: dimensions, width, layers, time_frequencies, batch. FOLDER/in.bin, raw float64: weight and bias of each layer in
turn, then x, t, grad_out. Writes FOLDER/out.bin: the output, then the gradients of sum(output * grad_out) in x and in every parameter;
and FOLDER/names.json with the names and shapes of the module's own state_dict.
"""

import json
import math
import pathlib
import sys

import numpy
import torch
from torch import nn

folder = pathlib.Path(sys.argv[1])
case = json.loads((folder / "case.json").read_text())
values = torch.from_numpy(numpy.fromfile(folder / "in.bin"))
dimensions, batch = case["dimensions"], case["batch"]

sizes = [dimensions + 2 * case["time_frequencies"]] + [case["width"]] * (case["layers"] - 1) + [dimensions]
modules = []
for inputs, outputs in zip(sizes, sizes[1:]):
    modules += [nn.Linear(inputs, outputs), nn.SiLU()]
net = nn.Sequential(*modules[:-1]).double()

shapes = [list(parameter.shape) for parameter in net.parameters()] + [[batch, dimensions], [batch], [batch, dimensions]]
*weights, x, t, grad_out = [part.reshape(shape) for part, shape in zip(values.split([math.prod(s) for s in shapes]), shapes)]
net.load_state_dict(dict(zip([name for name, _ in net.named_parameters()], weights)))
x.requires_grad_()
features = [x] + [torch.stack([turn(k * math.pi * t) for k in range(1, case["time_frequencies"] + 1)], 1) for turn in (torch.cos, torch.sin)]
out = net(torch.cat(features, 1))
out.backward(grad_out)
results = [out.detach(), x.grad] + [parameter.grad for parameter in net.parameters()]
numpy.concatenate([result.numpy().ravel() for result in results]).tofile(folder / "out.bin")
(folder / "names.json").write_text(json.dumps([[name, list(p.shape)] for name, p in net.named_parameters()]))
