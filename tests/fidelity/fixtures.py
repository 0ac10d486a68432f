#!/usr/bin/env python3
"""Makes statistics.json: SciPy's answers for the tests of model/fidelity/src/stats.

    pip install scipy
    python fixtures.py > statistics.json

The samples are what captures give: gaps over six decades, packet lengths with many ties, counts, tiny samples. What it
lacks (total variation, Hellinger) is written here from its definition, without the
shortcuts of the Rust code.
"""

import json
import math
import warnings

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

warnings.simplefilter("ignore")  # anderson_ksamp says so when its significance is a bound
rng = np.random.default_rng(20250328)


def rounded(values):
    return [round(float(x), 6) for x in values]


def pair(name, a, b):
    a, b = sorted(rounded(a)), sorted(rounded(b))
    anderson = None
    if len(a) + len(b) >= 4 and len(set(a + b)) > 1:
        result = stats.anderson_ksamp([np.array(a), np.array(b)], variant="midrank")
        anderson = {"statistic": float(result.statistic), "significance": float(result.pvalue)}
    function = stats.ecdf(a).cdf
    ecdf = [[float(x), float(y)] for x, y in zip(function.quantiles, function.probabilities)]
    return {"name": name, "a": a, "b": b, "anderson": anderson, "ecdf": ecdf}


def discrete(name, p, q):
    p, q = rounded(p), rounded(q)
    left, right = np.array(p) / sum(p), np.array(q) / sum(q)
    kl = float(stats.entropy(p, q))
    return {
        "name": name,
        "p": p,
        "q": q,
        "kl": kl if math.isfinite(kl) else None,
        "kl_smoothed": float(stats.entropy(np.array(p) + 0.5, np.array(q) + 0.5)),
        "js_distance": float(jensenshannon(p, q)),
        "total_variation": float(np.abs(left - right).sum() / 2),
        "hellinger": float(np.sqrt(((np.sqrt(left) - np.sqrt(right)) ** 2).sum()) / np.sqrt(2)),
    }


def kde(name, sample):
    sample = sorted(rounded(sample))
    at = rounded(np.linspace(min(sample) - 1, max(sample) + 1, 9))
    density = stats.gaussian_kde(sample, bw_method="scott")
    return {
        "name": name,
        "sample": sample,
        "bandwidth": float(np.sqrt(density.covariance[0, 0])),
        "at": at,
        "density": [float(y) for y in density(at)],
    }


lengths = [54, 66, 74, 1392, 1514]
skewed = [0.5, 0.2, 0.1, 0.1, 0.1]
bytes_seen = rng.multinomial(900, rng.dirichlet(np.full(40, 0.2)))
answers = {
    "pairs": [
        pair("gaps", rng.lognormal(6, 3, 60), rng.lognormal(7, 2, 50)),
        pair("gaps, alike", rng.lognormal(6, 2, 60), rng.lognormal(6, 2, 45)),
        pair("lengths", rng.choice(lengths, 60), rng.choice(lengths, 50, p=skewed)),
        pair("lengths, alike", rng.choice(lengths, 80, p=skewed), rng.choice(lengths, 30, p=skewed)),
        pair("counts", rng.poisson(9, 50), rng.poisson(10, 40)),
        pair("normal", rng.normal(0, 1, 55), rng.normal(0.5, 1.2, 45)),
        pair("far apart", rng.normal(0, 1, 30), rng.normal(50, 1, 20)),
        pair("four values", [1, 2], [2, 3]),
        pair("one against many", [4], [1, 4, 4, 9]),
        pair("too few", [1], [2, 3]),
        pair("constant", [7] * 5, [7] * 9),
    ],
    "discrete": [
        discrete("coin", [0.5, 0.5], [0.9, 0.1]),
        discrete("the same", [1, 2, 3], [2, 4, 6]),
        discrete("apart", [1, 0, 3, 0], [0, 5, 0, 1]),
        discrete("one lacks an outcome", [3, 2, 1], [3, 0, 4]),
        discrete("the other has more", [3, 0, 4], [3, 2, 1]),
        discrete("bytes", bytes_seen, rng.multinomial(700, rng.dirichlet(np.full(40, 0.2)))),
        discrete("bytes, alike", bytes_seen, rng.multinomial(700, (bytes_seen + 1) / (bytes_seen.sum() + 40))),
        discrete("a constant byte against any", [0] * 6 + [900] + [0] * 249, [1] * 256),
    ],
    "kde": [
        kde("normal", rng.normal(3, 2, 60)),
        kde("decades", np.log10(rng.lognormal(6, 3, 50))),
        kde("lengths", rng.choice(lengths, 40)),
        kde("two values", [1, 4]),
    ],
}
print(json.dumps(answers).replace("}, {", "},\n{"))
