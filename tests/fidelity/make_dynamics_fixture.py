"""Writes dynamics.json: pairs of samples with SciPy's answers, for the tests of model/fidelity/src/analyses/dynamics/distances.rs.

    pip install numpy scipy
    python3 tests/fidelity/make_dynamics_fixture.py > tests/fidelity/dynamics.json
"""

import json
import sys
import warnings

import numpy as np
from scipy import stats

BINS = 30


def kl(a, b):
    """Of histograms over the range of both with half a count added to every bin."""
    edges = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), BINS + 1)
    p = np.histogram(a, edges)[0] + 0.5
    q = np.histogram(b, edges)[0] + 0.5
    return float(stats.entropy(p, q))


def case(name, a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    ks = stats.ks_2samp(a, b, method="exact")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ad = stats.anderson_ksamp([a, b])
    return {
        "name": name,
        "a": a.tolist(),
        "b": b.tolist(),
        "ks": float(ks.statistic),
        "ks_p": float(ks.pvalue),
        "ad": float(ad.statistic),
        "ad_p": float(ad.pvalue),
        "kl": kl(a, b),
        "emd": float(stats.wasserstein_distance(a, b)),
    }


rng = np.random.default_rng(20)
cases = [
    case("same law", rng.normal(0, 1, 40), rng.normal(0, 1, 55)),
    case("moved", rng.normal(0, 1, 40), rng.normal(0.9, 1, 30)),
    case("far apart", rng.normal(0, 1, 30), rng.normal(40, 1, 25)),
    case("skewed", np.exp(rng.normal(8, 2, 60)).round(), np.exp(rng.normal(9, 1.5, 45)).round()),
    case("many ties", rng.integers(0, 6, 50), rng.integers(1, 8, 35)),
    case("tiny", [1, 2, 5], [2, 3]),
    case("between", rng.normal(0, 1, 60), rng.normal(0.45, 1.1, 60)),
]
json.dump(cases, sys.stdout, indent=1)
print()
