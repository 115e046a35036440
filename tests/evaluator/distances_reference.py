"""pytorch-fid, torch-fidelity and plain numpy on the same features: distances_reference.py IN.safetensors OUT.json."""
import json
import sys

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.torch import load_file
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

given = load_file(sys.argv[1])
out = {}


def statistics(features):
    features = features.double().numpy()
    return np.mean(features, axis=0), np.cov(features, rowvar=False)


if "samples" in given:
    samples, reference, logits = given["samples"], given["reference"], given["logits"]
    out["fid_pytorch_fid"] = float(calculate_frechet_distance(*statistics(samples), *statistics(reference)))
    out["fid_torch_fidelity"] = fid_statistics_to_metric(
        fid_features_to_statistics(samples.double()), fid_features_to_statistics(reference.double()), verbose=False
    )["frechet_inception_distance"]

    # KID: torch-fidelity on whole sets (its subsets are its own), numpy on the subsets that were handed in.
    n = min(len(samples), len(reference))
    out["kid_torch_fidelity"] = kid_features_to_metric(
        samples[:n].double(), reference[:n].double(), kid_subsets=1, kid_subset_size=n, kid_kernel="poly",
        kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1, rng_seed=0, verbose=False,
    )["kernel_inception_distance_mean"]

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    distances = []
    for chosen_samples, chosen_reference in zip(given["subsets_samples"].numpy(), given["subsets_reference"].numpy()):
        x, y = samples.double().numpy()[chosen_samples], reference.double().numpy()[chosen_reference]
        m = len(x)
        own = sum(kernel(a, a)[~np.eye(m, dtype=bool)].sum() for a in (x, y))
        distances.append(own / (m * (m - 1)) - 2 * kernel(x, y).mean())
    out["kid_mean"], out["kid_deviation"] = float(np.mean(distances)), float(np.std(distances))

    # Inception Score.
    score = isc_features_to_metric(logits, splits=10, shuffle=False)
    out["is_mean"], out["is_deviation"] = score["inception_score_mean"], score["inception_score_std"]
    p = torch.softmax(logits.double(), 1).numpy()
    scores = []
    for first in range(0, len(p), int(given["split_size"])):
        part = p[first : first + int(given["split_size"])]
        scores.append(np.exp(np.mean(np.sum(part * (np.log(part) - np.log(part.mean(0))), 1))))
    out["is_adm_mean"], out["is_adm_deviation"] = float(np.mean(scores)), float(np.std(scores))

    # Precision and recall.
    theirs = prc_features_to_metric(
        samples.double(), reference.double(), prc_neighborhood=3, prc_batch_size=10000, save_cpu_ram=False, verbose=False
    )
    out["precision_torch_fidelity"], out["recall_torch_fidelity"] = theirs["precision"], theirs["recall"]
    x, y = samples.double().numpy(), reference.double().numpy()

    def distance(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def within(a, centres):
        radius = np.sort(distance(centres, centres), 1)[:, 3]
        return float((distance(a, centres) <= radius).any(1).mean())

    out["precision"], out["recall"] = within(x, y), within(y, x)

if "mean_1" in given:
    out["wide"] = float(
        calculate_frechet_distance(*(given[name].numpy() for name in ("mean_1", "covariance_1", "mean_2", "covariance_2")))
    )

with open(sys.argv[2], "w") as file:
    json.dump(out, file)
