"""Images/s of Inception's features, and seconds of a Frechet distance of 2,048 dimensions: ours against pytorch-fid, random weights."""

# What is timed has each one's own resize in it, TensorFlow 1's bilinear of bytes or PyTorch's of floats, as its user pays for it. What is
# compared has not: images of 299 pixels, which neither resizes, scaled to the same numbers.

import argparse
import json
import math
import subprocess
import sys
import tempfile

import torch
import torchvision
from safetensors.torch import save_file

from pairs import result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
parser.add_argument("--distance_pairs", type=int, default=6, help="0: leave out the distance")
parser.add_argument("--images", type=int, default=100, help="a measurement")
parser.add_argument("--size", type=int, default=64)
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()


class Asked:
    """A program that answers a line with a line, and sleeps otherwise."""

    def __init__(self, command, *files):
        self.process = subprocess.Popen(
            [*command, *files, str(arguments.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"bench: {self.process.args} ended with {self.process.wait()}")
        return json.loads(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def random_weights():
    """Under which activations keep their size: the speed of convolutions does not depend on numbers that are neither 0 nor tiny."""
    net = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    state = {}
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("conv.weight"):
            state[name] = torch.randn(tensor.shape) * math.sqrt(2 / tensor[0].numel())
        elif name.endswith(("bn.weight", "running_var")):
            state[name] = 1 + 0.2 * torch.rand(tensor.shape)
        else:
            state[name] = 0.1 * torch.randn(tensor.shape)
    return state


def gaussian(seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(4096, 2048, generator=generator, dtype=torch.float64) @ torch.randn(2048, 2048, dtype=torch.float64, generator=generator) / 45
    features = features.relu()
    return features.mean(0), torch.cov(features.T)


torch.manual_seed(0)
with tempfile.TemporaryDirectory() as folder:
    weights, inputs = f"{folder}/weights.safetensors", f"{folder}/inputs.safetensors"
    save_file(random_weights(), weights)
    (mean_1, covariance_1), (mean_2, covariance_2) = gaussian(1), gaussian(2)
    images = torch.randint(0, 256, (arguments.images, 3, arguments.size, arguments.size), dtype=torch.uint8)
    whole = torch.randint(0, 256, (4, 3, 299, 299), dtype=torch.uint8)
    save_file(
        {"images": images, "whole": whole, "mean_1": mean_1, "covariance_1": covariance_1, "mean_2": mean_2, "covariance_2": covariance_2}, inputs
    )
    ours, peer = Asked(["bench_features"], weights, inputs), Asked([sys.executable, "bench/peer_fid.py"], weights, inputs)
    same = [torch.tensor(program.ask("same_pixels")["values"], dtype=torch.float64) for program in (ours, peer)]
    apart = ((same[0] - same[1]).abs().max() / same[1].abs().max()).item()
    print(f"features of the same pixels: {len(same[0])} numbers differ by at most {apart:.1e} of the largest")
    assert len(same[0]) == 4 * 2048 and apart < 1e-4, "the two networks do not compute the same features"
    for what, pairs in (("features", arguments.pairs), ("distance", arguments.distance_pairs)):
        if pairs == 0:
            continue
        answers = {"ours": [], "peer": []}
        for pair in range(pairs + 1):  # the first one warms up
            for name, program in (("ours", ours), ("peer", peer)):
                answers[name].append(program.ask(what))
        seconds = {name: [answer["seconds"] for answer in list_[1:]] for name, list_ in answers.items()}
        values = [answers[name][0]["value"] for name in ("ours", "peer")]
        assert what == "features" or abs(values[0] / values[1] - 1) < 1e-6, f"{what}: {values}"
        print(f"{what}: {values[0]:.8g} ours, {values[1]:.8g} pytorch-fid" + (" (sums, after different resizes)" if what == "features" else ""))
        if what == "features":
            rates = {name: [arguments.images / s for s in list_] for name, list_ in seconds.items()}
            result("fid_features", rates["ours"], rates["peer"], "images/s")
        else:
            result("fid_distance", seconds["ours"], seconds["peer"], "s", more_is_better=False)
    ours.end()
    peer.end()
