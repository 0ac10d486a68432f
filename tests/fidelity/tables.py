#!/usr/bin/env python3
"""Tables of docs/fidelity-results.md, from the reports of `netssmd evaluate`: real, each synthetic set, floor, and what the papers published.

    python3 tables.py TITLE NAME=REPORT/report.json [NAME=...] [TITLE ...]

All reports behind a title have the same real captures and floor; these are taken from the first.
"""

import json
import sys
import textwrap


def prose(text):
    """Prints one paragraph, wrapped as the documents are."""
    print(textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n")


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def num(x, digits=3):
    if x is None:
        return ""
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.{digits}f}" if abs(x) < 100 else f"{x:.0f}"


def percent(x):
    return "" if x is None else f"{100 * x:.1f}"


def best(cells, values, lower=True):
    """Bold for the best of what was generated."""
    known = [v for v in values if v is not None]
    if len(known) < 2 or min(known) == max(known):
        return cells
    top = min(known) if lower else max(known)
    return [f"**{c}**" if v == top else c for c, v in zip(cells, values)]


def rows(sets):
    first = sets[0][1]
    names = [name for name, _ in sets]
    prose("**Row by row.** Kolmogorov-Smirnov distance over all labels, and its mean within labels; 0 is the same.")
    lines = []
    for row in first["rows"]:
        name = row["name"]
        if row["kind"] != "sample":
            continue
        values, within = [], []
        for _, report in sets:
            values.append((report["overall"].get(name, {}).get("distance") or {}).get("ks"))
            within.append((report["label_mean"].get(name) or {}).get("distance"))
        floor = (first["overall"].get(name, {}).get("floor_distance") or {}).get("ks")
        both = [num(v) + (f" ({num(w)})" if w is not None and len(first["labels"]) > 1 else "") for v, w in zip(values, within)]
        lines.append([f"`{name}`", *best(both, values), num(floor)])
    table(["row", *names, "floor"], lines)
    prose("**Shares**, in percent.")
    lines = []
    for row in first["rows"]:
        name = row["name"]
        if row["kind"] == "sample":
            continue
        at = lambda report, side: ((report["overall"].get(name) or {}).get(side) or {}).get("share")
        real = at(first, "real")
        values = [at(report, "synthetic") for _, report in sets]
        off = [None if v is None or real is None else abs(v - real) for v in values]
        lines.append([f"`{name}`", percent(real), *best([percent(v) for v in values], off), percent(at(first, "floor"))])
    table(["row", "real", *names, "floor"], lines)


def similarity(sets):
    first = sets[0][1]["similarity"]
    prose("**Header bytes** (NetSSM, Table 2): JSD / TVD / HD, mean over the bytes of a header.")
    triple = lambda m: "" if not m else " / ".join(num(m[k]) for k in ("jsd", "tvd", "hd"))
    lines = []
    for header in ("ipv4", "tcp", "udp"):
        at = lambda s, part: ((s[part] or {}).get("headers", {}).get(header) or {}).get("bytes")
        values = [at(report["similarity"], "compared") for _, report in sets]
        cells = best([triple(v) for v in values], [v and v["jsd"] for v in values])
        lines.append([header, *cells, triple(at(first, "floor")), triple(at(first, "random_fields")), triple(at(first, "random_bytes"))])
    traces = [report["similarity"]["traces"] for _, report in sets]
    cells = best([triple(t["synthetic"]) for t in traces], [t["synthetic"] and t["synthetic"]["jsd"] for t in traces])
    lines.append(["flow by flow, all headers", *cells, triple(traces[0]["floor"]), "", triple(traces[0]["random_bytes"])])
    table(["", *[name for name, _ in sets], "floor", "random fields", "random bytes"], lines)
    prose("As published, on other captures: " + "; ".join(
        f"{p['name']} " + " / ".join("-" if p[k] is None else f"{p[k]:.2f}" for k in ("jsd", "tvd", "hd"))
        for p in first["published"]) + ".")


def compliance(sets):
    first = sets[0][1]["compliance"]
    prose("**TCP compliance** (NetSSM, Tables 3 and 4): percent of flows; the five columns on the right are the paper's, of its own captures.")
    share = lambda side, row: None if not side or not side["rows"][row]["flows"]["of"] else side["rows"][row]["flows"]["hits"] / side["rows"][row]["flows"]["of"]
    lines = []
    paper = ("multi_real", "multi_netssm", "single_real", "single_netssm", "single_netdiffusion")
    for row in first["definitions"]:
        name, published = row["name"], row["published"] or {}
        real = share(first["real"], name)
        values = [share(report["compliance"]["synthetic"], name) for _, report in sets]
        off = [None if v is None or real is None else abs(v - real) for v in values]
        lines.append([row["title"], percent(real), *best([percent(v) for v in values], off), percent(share(first["floor"], name)),
                      *[f"{published[p]:.1f}" if p in published else "" for p in paper]])
    table(["", "real", *[name for name, _ in sets], "floor", "sessions: real", "NetSSM", "flows: real", "NetSSM", "NetDiffusion"], lines)
    lines = []
    for option in first["real"]["options"]:
        rate = lambda side: None if not side or not side["segments"] else 1000 * side["options"][option] / side["segments"]
        real = rate(first["real"])
        values = [rate(report["compliance"]["synthetic"]) for _, report in sets]
        lines.append([option, num(real, 1), *best([num(v, 1) for v in values], [abs(v - real) for v in values]), num(rate(first["floor"]), 1)])
    table(["option, per 1,000 segments", "real", *[name for name, _ in sets], "floor"], lines)


def dynamics(sets):
    first = sets[0][1]["dynamics"]
    prose("**Application dynamics** (NetSSM, Table 5): all sessions of a side together; K-S, KL in nats, EMD in the unit.")
    lines = []
    for at, evaluation in enumerate(first["evaluations"]):
        for key, title in (("mean_delta", "mean Δ"), ("median_delta", "median Δ"), ("std_delta", "std. dev. Δ"), ("ks", "K-S"), ("kl", "KL"), ("emd", "EMD")):
            of = lambda e, other: None if not e["together"][other] else e["together"][other][key]
            values = [of(report["dynamics"]["evaluations"][at], "synthetic") for _, report in sets]
            lines.append([f"{evaluation['name']} ({evaluation['unit']})", title, *best([num(v) for v in values], values),
                          num(of(evaluation, "floor")), num(of(evaluation, "random"))])
    table(["", "", *[name for name, _ in sets], "floor", "random"], lines)
    prose("As published, session by session, of Netflix, in units not named (mean Δ, median Δ, std. dev. Δ, K-S, p, A-D, p, KL, EMD): " + "; ".join(
        f"{p['of']}, {p['evaluation']}: " + " ".join(f"{v:g}" for v in p["values"]) for p in first["published"]) + ".")


def utility(sets):
    levels = [report["utility"]["levels"] for _, report in sets]
    if not all(levels):
        why = sets[0][1]["utility"]["missing"]
        prose("**Downstream utility** (NetSSM, Figure 2): " + ("; ".join(why) or "nothing to tell apart") + ".")
        return
    first = levels[0][0]
    prose(f"**Downstream utility** (NetSSM, Figure 2): accuracy in percent on held-out real sessions, {len(first['classes'])} classes; "
          "0, 50 and 100 % of the training set replaced.")
    lines = []
    for classifier in ("tree", "forest", "svm"):
        for packets in (True, False):
            cells, last = [], []
            for level in levels:
                curve = next(c for c in level[0]["curves"] if (c["classifier"], c["first_packet"], c["mixed_in"], c["tested_on"]) == (classifier, packets, "synthetic", "real"))
                at = {p["percent"]: p["accuracy"]["mean"] for p in curve["points"]}
                cells.append(" / ".join(percent(at[p]) for p in (0, 50, 100)))
                last.append(at[100])
            lines.append([classifier, "with" if packets else "without", *best(cells, last, lower=False)])
    floor = [c for c in first["curves"] if c["mixed_in"] == "floor" and c["tested_on"] == "real"]
    table(["", "first packet", *[name for name, _ in sets]], lines)
    if floor:
        at = {p["percent"]: p["accuracy"]["mean"] for p in floor[0]["points"]}
        prose(f"Floor ({floor[0]['classifier']}, another real set mixed in): " + " / ".join(percent(at[p]) for p in (0, 50, 100)) + ".")


def discriminate(sets):
    first = sets[0][1]["discriminate"]
    prose("**Told apart by a classifier**: AUC with its interval; 0.5 it cannot tell.")
    told = lambda side, by: None if not side else side[by]
    cell = lambda t: "" if not t else f"{t['auc']:.2f} ({t['low']:.2f} to {t['high']:.2f})"
    lines = []
    for by, title in (("by_session", "sessions"), ("by_flow", "flows")):
        values = [told(report["discriminate"]["synthetic"], by) for _, report in sets]
        lines.append([title, *best([cell(v) for v in values], [v and v["auc"] for v in values]), cell(told(first["floor"], by))])
    table(["", *[name for name, _ in sets], "floor"], lines)
    for name, report in sets:
        clues = report["discriminate"]["synthetic"]["by_flow"]["gave_away"][:4]
        prose(f"What gave flows of *{name}* away: " + ", ".join(f"{c['feature']} (alone {c['alone']:.2f})" for c in clues) + ".")


def memorise(sets):
    first = sets[0][1]["memorise"]
    prose("**Learning or memorising**: beside held-out real sessions.")
    lines = []
    for at, run in enumerate(first["runs"]):
        longest = lambda side: "" if not side else str((side["longest"] or {}).get("packets", 0))
        lines.append([f"longest copied run, {run['equality']}", *[longest(report["memorise"]["runs"][at]["synthetic"]) for _, report in sets], longest(run["held_out"])])
    for at, level in enumerate(first["neighbours"]):
        middle = lambda side: "" if not side else num(side["distance"]["p50"], 2)
        lines.append([f"distance to the nearest of training, {level['level']}, median", *[middle(report["memorise"]["neighbours"][at]["synthetic"]) for _, report in sets], middle(level["held_out"])])
    lines.append(["identifiers of training found", *[str(report["memorise"]["identifiers"]["found"]) for _, report in sets], ""])
    table(["", *[name for name, _ in sets], "held-out"], lines)


def ids(sets):
    first = sets[0][1].get("ids")
    if not first:
        return
    for at, judge in enumerate(first["judges"]):
        prose(f"**{judge['name']} {judge['version']}**, counts per 1,000 packets.")
        sides = [("real", judge["sides"]["real"])] + [(name, report["ids"]["judges"][at]["sides"]["synthetic"]) for name, report in sets]
        sides += [("floor", judge["sides"]["floor"])] if "floor" in judge["sides"] else []
        lines = []
        for part in ("decoder", "stream", "flow_state", "application", "alerts"):
            keys = sorted({k for _, side in sides for k in side["counts"].get(part, {})})
            for key in keys:
                lines.append([f"{part}: {key}", *[num(1000 * side["counts"].get(part, {}).get(key, 0) / side["packets"], 2) for _, side in sides]])
        table(["", *[name for name, _ in sides]], lines)


def main():
    groups = []
    for argument in sys.argv[1:]:
        if "=" in argument:
            name, path = argument.split("=", 1)
            with open(path, encoding="utf-8") as file:
                groups[-1][1].append((name, json.load(file)))
        else:
            groups.append((argument, []))
    for title, sets in groups:
        print(f"## {title}\n")
        for part in (rows, similarity, compliance, dynamics, utility, discriminate, memorise, ids):
            part(sets)


main()
