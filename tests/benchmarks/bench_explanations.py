"""Shortcut verdicts and attribution maps on classifiers whose reliance is known by construction.

    python tests/benchmarks/bench_explanations.py [--seeds 5] [--patients 128] [--smoke] [--record]

Classifiers of effusion at 64 x 64, each trained on 2,000 phantom films per seed:
    marker only   no film shows an effusion; the label is whether a marker stands in the corner. It can only use the marker.
    confounded    effusions show; a marker stands on 60 % of those films and on 40 % of the others.
    control       effusions show; half of all films have a marker, whatever else they show.
and a hand-made detector that reads the marker's place and nothing else. Effects are of setting the marker on the same unseen patients, by
the shipped generator's edits and exactly.
"""
import argparse
import json
import platform
from datetime import date
from pathlib import Path

import pandas as pd
import torch

import synthkit as sk
from synthkit.explanation.effects import effects, showing
from synthkit.generators.editing import inverted

CHEST = sk.ChestPhantom(64)
CONFOUNDING = {"marker only": 0.0, "confounded": 0.2, "control": 0.0}
DO = {"marker": "absent", "effusion": "absent", "heart_ratio": 0.45}
CHANCE = "p_effusion_present"
DEVICE = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()


def films(kind: str, count: int, *, seed: int) -> sk.Cohort:
    """Films of one kind with their labels."""
    drawn = sk.ChestPhantom(64, confounding=CONFOUNDING[kind]).cohort(count, seed=seed)
    if kind != "marker only":
        return drawn
    dry = CHEST.counterfactual_table(drawn.table, {"effusion": "absent"})
    raw = drawn.space.to_raw(CHEST.render(dry) * 2 - 1)
    return sk.Cohort.of(raw, dry.assign(effusion=dry["marker"]), schema=drawn.schema, space=drawn.space, provenance=drawn.provenance)


class Corner(torch.nn.Module):
    """Calls a film ill when the marker's place is bright; it reads nothing else."""

    def __init__(self, place: torch.Tensor):
        super().__init__()
        self.register_buffer("place", place.float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = 10 * ((x * self.place).flatten(1).sum(1) / self.place.sum() + 0.4)
        return torch.stack([torch.zeros_like(bright), bright], 1)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--patients", type=int, default=128)
    options.add_argument("--steps", type=int, default=300, help="of each classifier")
    options.add_argument("--smoke", action="store_true")
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    count, steps = (64, 4) if args.smoke else (2000, args.steps)
    patients = CHEST.cohort(16 if args.smoke else args.patients, seed=55_000)
    shows = showing(patients, inverted(sk.Generator.pretrained("chest-phantom-64"), patients), CHEST)
    rows, last = [], {}
    for seed in range(args.seeds):
        for kind in CONFOUNDING:
            last[kind] = sk.Classifier("effusion").fit(films(kind, count, seed=56_000 + seed), seed=seed, budget=sk.Steps(steps))
            found = effects({"in question": last[kind]}, shows, "marker", ("absent", "present"), CHANCE, margin=0.05, seed=seed)
            rows += [{**row, "classifier": kind, "seed": seed} for row in found]
            print(pd.DataFrame(rows[-len(found) :]).round(4).to_string(header=False), flush=True)
    table = pd.DataFrame(rows)
    beside = table.pivot(index=["classifier", "seed"], columns="twins", values="effect")
    beside["apart"] = beside["edited"] - beside["exact"]
    print(beside.round(4).to_string(), table.groupby(["classifier", "twins"])["verdict"].value_counts(), sep="\n")
    ill = CHEST.cohort(120 if args.smoke else 400, seed=57_000).where("marker == 'present' and effusion == 'present'")
    place = CHEST.change_mask(ill, {"marker": "absent"}).any(0)
    eyes = {"hand-made detector": sk.Predictor.of(Corner(place), ill.schema["effusion"], ill), "marker only": last["marker only"]}
    cards = {name: sk.scorecard(eye, ill, do=DO, relies_on="marker", truth=CHEST) for name, eye in eyes.items()}
    shapley = {name: sk.agreement(eye, ill, do=DO, truth=CHEST) for name, eye in {**eyes, "confounded": last["confounded"]}.items()}
    for told in (*cards.values(), *shapley.values()):
        print(told.title, told.frame().round(3).to_string(), *told.caveats(), sep="\n")
    if args.record:
        record = {"date": f"{date.today()}", "settings": vars(args), "device": DEVICE, "effects": table.round(5).to_dict("records"),
                  "scorecards": {name: told.frame().round(5).to_dict("records") for name, told in cards.items()},
                  "agreement": {name: told.frame().round(5).to_dict("records") for name, told in shapley.items()}}  # fmt: skip
        (Path(__file__).parent / "results" / "explanations.json").write_text(json.dumps(record, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
