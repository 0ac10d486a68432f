#!/usr/bin/env python3
"""Makes classifiers.json: small data sets with the accuracies that scikit-learn's classifiers reach on them.

    pip install numpy scikit-learn
    python classifiers.py > classifiers.json

Read by the tests of model/fidelity/src/analyses/classify. The sets are of the kinds that captures give: continuous values, header
bits, counts with many ties, classes of unequal size. Each has as many rows to train on as to test on. Trees and forests
draw at random (which of equal splits, which rows), so their accuracy is a mean over seeds, with the standard deviation
beside it; `auc` is that of a forest's vote for class 1 where there are two classes.
"""

import json

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

rng = np.random.default_rng(20240229)
SEEDS = range(20)


def blobs(n, classes, features, spread):
    centres = rng.normal(0, 1, (classes, features))
    y = rng.integers(0, classes, n)
    return np.round(centres[y] + rng.normal(0, spread, (n, features)), 2), y


def bits(n, classes, features, flip):
    """Each class has a word of bits; a bit is flipped with a probability of its own."""
    words = rng.integers(0, 2, (classes, features))
    chance = rng.uniform(0, flip, features)
    y = rng.integers(0, classes, n)
    return (words[y] ^ (rng.uniform(size=(n, features)) < chance)).astype(float), y


def counts(n, features):
    """Poisson counts of two classes, three to one; most values occur many times."""
    y = (rng.uniform(size=n) < 0.25).astype(int)
    rates = np.array([rng.uniform(1, 4, features), rng.uniform(1, 4, features)])
    return rng.poisson(rates[y]).astype(float), y


def spread(values):
    return {"mean": round(float(np.mean(values)), 5), "std": round(float(np.std(values)), 5)}


def case(name, x, y):
    half = len(y) // 2
    train, test, of_train, of_test = x[:half], x[half:], y[:half], y[half:]

    def fitted(make):
        models = [make(seed).fit(train, of_train) for seed in SEEDS]
        guesses = [model.predict(test) for model in models]
        return models, {
            "accuracy": spread([accuracy_score(of_test, guess) for guess in guesses]),
            "macro_f1": spread([f1_score(of_test, guess, average="macro") for guess in guesses]),
        }

    _, tree = fitted(lambda seed: DecisionTreeClassifier(random_state=seed))
    forests, forest = fitted(lambda seed: RandomForestClassifier(100, random_state=seed))
    _, svm = fitted(lambda _: SVC(C=1.0, kernel="rbf", gamma="scale"))
    if len(set(y)) == 2:
        forest["auc"] = spread([roc_auc_score(of_test, model.predict_proba(test)[:, 1]) for model in forests])
    rows = [[int(v) if v == int(v) else float(v) for v in row] for row in x]
    return {"name": name, "x": rows, "y": [int(v) for v in y], "tree": tree, "forest": forest, "svm": svm}


def aucs():
    """Scores with ties, and the area under their curve."""
    out = []
    for n, levels in [(6, 3), (20, 4), (50, 1000), (9, 1)]:
        y = np.array([0, 1] + list(rng.integers(0, 2, n - 2)))
        score = rng.integers(0, levels, n)
        out.append({"score": [int(s) for s in score], "y": [int(v) for v in y], "auc": float(roc_auc_score(y, score))})
    return out


sets = [
    case("continuous", *blobs(300, 4, 6, 0.9)),
    case("bits", *bits(400, 8, 24, 0.35)),
    case("bits, two classes", *bits(300, 2, 12, 0.45)),
    case("counts", *counts(400, 5)),
    case("bits, many classes with few rows", *bits(150, 20, 40, 0.4)),
]
text = json.dumps({"sets": sets, "auc": aucs()}, separators=(",", ":"))
print(text.replace("]],", "]],\n").replace("}},", "}},\n").replace("},{", "},\n{"))
