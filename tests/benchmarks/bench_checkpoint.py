"""What the shipped generator can do, against the phantom's exact truth: edits (R2_delta), adherence, distances.

    python tests/benchmarks/bench_checkpoint.py [--name chest-phantom-64] [--edits 64] [--subjects 512] [--write]

Subjects are of a seed that no training run uses. `--write` puts the figures into the checkpoint's card.
"""
import argparse
from dataclasses import replace

import numpy as np
import pandas as pd

import synthkit as sk
from synthkit.generators.checkpoint import SHIPPED

SEED = 9_000
EDITS = {
    "effusion removed": ({"effusion": "absent"}, "effusion == 'present'"), "sex": ({"sex": "M"}, "sex == 'F'"),
    "age to 80": ({"age": 80.0}, "age < 65"), "heart ratio to .60": ({"heart_ratio": 0.60}, "heart_ratio < .52"),
    "opacity to .30": ({"opacity": 0.30}, "opacity < .15"), "lesion removed": ({"lesion": "absent"}, "lesion == 'present'"),
    "marker removed": ({"marker": "absent"}, "marker == 'present'"), "site A to B": ({"site": "B"}, "site == 'A'"),
    "view PA to AP": ({"view": "AP"}, "view == 'PA'"),
}  # fmt: skip


def edits(generator: sk.Generator, phantom: sk.ChestPhantom, count: int) -> list[dict[str, object]]:
    """Pooled and median skill of each edit with its interval and n, and the raw round-trip error."""
    subjects, rows = phantom.cohort(count * 8, seed=SEED), []
    for name, (do, condition) in EDITS.items():
        chosen = subjects.where(condition)[:count]
        twin = sk.counterfactual(generator, chosen, do)
        frame = twin.against(phantom.counterfactual(chosen, do)).frame().set_index("measure")
        trip = float(twin.edited.table["round_trip"].mean())
        for measure in frame.index:
            score = frame.loc[measure]
            rows.append({"what": f"edit: {name}", "measure": measure, **score[["value", "low", "high"]].to_dict(), "n": int(score["n"])})
        rows.append({"what": f"edit: {name}", "measure": "round trip /255", "value": trip, "low": np.nan, "high": np.nan, "n": len(chosen)})
    return rows


def quality(generator: sk.Generator, phantom: sk.ChestPhantom, subjects: int) -> list[dict[str, object]]:
    """Adherence per factor beside the judge's own score, and distances beside their floor."""
    train, judge, test = (phantom.cohort(n, seed=SEED + i) for i, n in ((1, subjects), (2, 4 * subjects), (3, subjects)))
    fake = generator.sample(test.table, seed=0)
    frame = sk.evaluate(real=test, fake=fake, train=train, judge=judge).frame()
    return [{"what": f"{row['metric']}: {row['group']}", "measure": f"beside {row['floor']:.4g} on phantom films", "value": row["value"],
             "low": row["low"], "high": row["high"], "n": int(row["n_fake"])} for row in frame.to_dict("records")]  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--name", default="chest-phantom-64")
    options.add_argument("--edits", type=int, default=64)
    options.add_argument("--subjects", type=int, default=512)
    options.add_argument("--write", action="store_true")
    args = options.parse_args()
    generator = sk.Generator.pretrained(args.name)
    phantom = sk.ChestPhantom(size=generator.space.size[0])
    rows = (edits(generator, phantom, args.edits) if generator.can_edit else []) + quality(generator, phantom, args.subjects)
    table = pd.DataFrame(rows).round(4)
    print(table.to_string(index=False))
    if args.write:
        measured = tuple(table.astype(object).where(table.notna(), None).to_dict("records"))
        replace(generator, card=replace(generator.card, measured=measured)).save(SHIPPED / args.name, half=True)


if __name__ == "__main__":
    main()
