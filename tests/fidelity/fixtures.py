#!/usr/bin/env python3
"""Makes statistics.json: SciPy's and scikit-learn's answers for the tests of model/src/fidelity/stats.

    pip install scipy scikit-learn
    python fixtures.py > statistics.json

The samples are what captures give: gaps over six decades, packet lengths with many ties, counts, tiny samples. What neither
library has (total variation, Hellinger, the standard error of an area) is written here from its definition, without the
shortcuts of the Rust code.
"""

import json
import math
import warnings

import numpy as np
from scipy import optimize, stats
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score

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


def bootstrap(name, sample):
    sample = rounded(sample)
    interval = stats.bootstrap(
        (np.array(sample),), np.mean, n_resamples=100_000, method="percentile", rng=rng
    ).confidence_interval
    return {"name": name, "sample": sample, "low": float(interval.low), "high": float(interval.high)}


def area(name, positives, negatives):
    positives, negatives = rounded(positives), rounded(negatives)
    m, n = len(positives), len(negatives)
    value = float(roc_auc_score([1] * m + [0] * n, positives + negatives))
    wins = [[float(p > q) + 0.5 * float(p == q) for q in negatives] for p in positives]
    by_positive, by_negative = np.mean(wins, axis=1), np.mean(wins, axis=0)
    error = math.sqrt(np.var(by_positive, ddof=1) / m + np.var(by_negative, ddof=1) / n)
    z = float(stats.norm.ppf(0.975))
    if error > 0:
        low, high = max(0.0, value - z * error), min(1.0, value + z * error)
    else:  # Newcombe 2006, method 5

        def slack(x):
            star = (m + n) / 2 - 1
            spread = 1 + star * (1 - x) / (2 - x) + star * x / (1 + x)
            return (value - x) ** 2 - z * z * x * (1 - x) * spread / (m * n)

        near = 1e-7  # the slack is 0 at an area of 0 or 1 that was seen
        low = 0.0 if value == 0 else optimize.brentq(slack, 1e-12, value - near, xtol=1e-15)
        high = 1.0 if value == 1 else optimize.brentq(slack, value + near, 1 - 1e-12, xtol=1e-15)
    return {
        "name": name,
        "positives": positives,
        "negatives": negatives,
        "auc": value,
        "std_error": error,
        "low": low,
        "high": high,
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
    "bootstrap": [
        bootstrap("normal", rng.normal(3, 2, 40)),
        bootstrap("skewed", rng.lognormal(0, 1, 30)),
    ],
    "auc": [
        area("overlapping", rng.normal(1, 1, 40), rng.normal(0, 1, 30)),
        area("ties", rng.integers(2, 6, 50), rng.integers(0, 5, 25)),
        area("chance", rng.normal(0, 1, 35), rng.normal(0, 1, 35)),
        area("backwards", rng.normal(0, 1, 20), rng.normal(1, 1, 25)),
        area("told apart", rng.uniform(2, 3, 12), rng.uniform(0, 1, 9)),
        area("told apart, the wrong way", rng.uniform(0, 1, 12), rng.uniform(2, 3, 9)),
        area("all the same", [1] * 8, [1] * 6),
    ],
}
print(json.dumps(answers).replace("}, {", "},\n{"))
