"""How right a shipped generator's edits are, against the phantom's exact truth, on subjects that nothing has learnt from.

    python tests/benchmarks/bench_counterfactuals.py [--name chest-phantom-64] [--subjects 256] [--steps 12] [--record]
    python tests/benchmarks/bench_counterfactuals.py --train 1500 [--films 500] [--hide sex] [--record]

The subjects, edits and doses are frozen: subjects of one seed, and every edit on those of them that it changes. Beside the table of
`sk.soundness` stand the lesion's removal by the flow locked to the lungs, a nodule added by the flow and by drawing it, and how often
a marker appears when an effusion is set.
With --train a generator is first trained for so many steps, on few films or with a factor hidden from it: the three of equal
budget say what either costs.
"""
import argparse
import json
import platform
from datetime import date
from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional as F

import synthkit as sk
from synthkit.core.intervals import wilson
from synthkit.phantoms.physics import LUNG_PER_CM, SCATTER_SHARE, SOFT_PER_CM

SEED, TEACHING, LEARNT, CLEAN = 90_210, 90_211, 90_212, 90_213
EDITS = [
    {"marker": "absent"}, {"marker": "present"}, {"site": "B"}, {"effusion": "absent"}, {"effusion": "present"}, {"opacity": 0.3}, {"opacity": 0.0},
    {"sex": "M"}, {"sex": "F"}, {"age": 80}, {"age": 35}, {"heart_ratio": 0.6}, {"heart_ratio": 0.42}, {"lesion": "absent"}, {"view": "AP"},
    {"pneumothorax": "absent"}, {"consolidation": "absent"},
]  # fmt: skip
TARGETS = {"marker": 0.97, "site": 0.96, "effusion": 0.94, "opacity": 0.94, "sex": 0.95, "age": 0.9, "heart_ratio": 0.9, "lesion": 0.65}


def locked(generator: sk.Generator, chest: sk.ChestPhantom, subjects: sk.Cohort, count: int) -> dict[str, object]:
    """The lesion's removal with everything but the lungs held still."""
    ill, do = subjects.where("lesion == 'present'")[:count], {"lesion": "absent"}
    frame = sk.local_edit(generator, ill, mask=_lungs(chest, ill), do=do).against(chest.counterfactual(ill, do)).frame()
    return {"edit": "lesion → absent, locked to the lungs", **{row["measure"]: row for row in frame.to_dict("records")}}


def planted(generator: sk.Generator, chest: sk.ChestPhantom, subjects: sk.Cohort, count: int) -> list[dict[str, object]]:
    """A nodule put at one place: by the flow, by the flow locked to the lungs, and drawn by the physics of its shadow, told place and size.

    The contrast of the drawing is the phantom's own: path length times what tissue weakens more than air, less scatter, over the film's span.
    """
    well = subjects.where("lesion == 'absent'")[:count]
    do = {"lesion": "present", "lesion_radius": 12.0, "lesion_spiculation": 0.2, "lesion_x": -60.0, "lesion_y": 0.0}
    twins = chest.counterfactual(well, do)
    masks, (height, width) = chest.masks(twins)["lesion"].float(), chest.space.size
    shown = masks.flatten(1).sum(1) >= 3
    well, twins, masks = well[shown.numpy()], twins[shown.numpy()], masks[shown]
    area, (row, column) = masks.flatten(1).sum(1), torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([(masks * one).flatten(1).sum(1) / area for one in (row, column)], 1).numpy()
    contrast = (SOFT_PER_CM - LUNG_PER_CM) * 2.4 / 3.5 / (1 + SCATTER_SHARE)
    ways = {
        "flow": sk.counterfactual(generator, well, do), "flow, locked to the lungs": sk.local_edit(generator, well, mask=_lungs(chest, well), do=do),
        "drawn": sk.draw_nodule(well, do, at=places, radius=float((area / torch.pi).sqrt().median()), contrast=contrast),
    }  # fmt: skip
    return [{"way": way, **row} for way, twin in ways.items() for row in twin.against(twins).frame().to_dict("records")]


def _lungs(chest: sk.ChestPhantom, films: sk.Cohort) -> torch.Tensor:
    """The lungs, widened by a pixel."""
    return F.max_pool2d(chest.masks(films)["lungs"][:, None].float(), 3, stride=1, padding=1)[:, 0] > 0


def appearing(generator: sk.Generator, chest: sk.ChestPhantom, judge: sk.Predictor, count: int) -> list[dict[str, object]]:
    """The share of films without a marker, and read so, that are read with one after an effusion was set; beside it that of their exact twins."""
    drawn, do = chest.cohort(4 * count, seed=CLEAN), {"effusion": "present"}
    clean = drawn.where("effusion == 'absent' and marker == 'absent'")[:count]
    after = {"edited": sk.counterfactual(generator, clean, do).edited, "exact": chest.counterfactual(clean, do)}
    without = judge.predict(clean)["p_marker_present"].to_numpy() <= 0.5
    found = {name: judge.predict(cohort)["p_marker_present"].to_numpy()[without] > 0.5 for name, cohort in after.items()}
    ends = {name: wilson(int(new.sum()), len(new)) for name, new in found.items()}
    return [{"twins": name, "share": float(new.mean()), "low": ends[name][0], "high": ends[name][1], "n": len(new)} for name, new in found.items()]


def taught(steps: int, films: int, hide: str | None) -> sk.Generator:
    """A generator trained here, on films of another seed, with one factor left out of its schema or none."""
    cohort = sk.ChestPhantom(64).cohort(films, seed=LEARNT)
    schema = cohort.schema.only(tuple(name for name in cohort.schema.names if name != hide))
    told = sk.Cohort(cohort.images, cohort.table[["image_id", "patient_id", *schema.names]], schema, cohort.provenance, cohort.notes)
    return sk.Diffusion().fit(told, budget=sk.Steps(steps), seed=0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--name", default="chest-phantom-64", help="a shipped generator, or a folder")
    options.add_argument("--subjects", type=int, default=256)
    options.add_argument("--count", type=int, default=64, help="subjects per edit, at most")
    options.add_argument("--steps", type=int, help="of the solver; the generator's own when left out")
    options.add_argument("--train", type=int, help="steps; a generator is trained first, in place of --name")
    options.add_argument("--films", type=int, default=16_384, help="with --train")
    hidden = [name for name in TARGETS if name not in ("lesion", "effusion")]
    options.add_argument("--hide", choices=hidden, help="with --train: a factor that the generator is not told")
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    if args.train:
        generator = taught(args.train, args.films, args.hide)
        args.name = f"trained-{args.train}-steps-{args.films}" + (f"-without-{args.hide}" if args.hide else "")
    else:
        generator = sk.Generator.load(args.name) if Path(args.name).is_dir() else sk.Generator.pretrained(args.name)
    if args.steps:
        generator, args.name = generator.using(steps=args.steps), f"{args.name}-solver-{args.steps}"
    chest = sk.ChestPhantom(size=generator.space.size[0])
    subjects, library = chest.cohort(args.subjects, seed=SEED), chest.cohort(4 * args.subjects, seed=TEACHING)
    judge = sk.phantom_judge(chest)
    told = sk.soundness(generator, subjects, truth=chest, judge=judge, edits=[do for do in EDITS if args.hide not in do], library=library, count=args.count)
    frame = told.frame().assign(target=lambda f: f["factor"].map(TARGETS))
    frame["reached"] = frame["r2_delta_median"] >= frame["target"]
    medians = "edit", "n", "r2_delta", "r2_delta_low", "r2_delta_high", "r2_delta_median", "target", "reached", "r2_delta_redraw", "r2_delta_neighbour"
    print(frame[[*medians]].round(3).to_string(index=False))
    print(frame.drop(columns=[*medians[1:], "factor"]).round(3).to_string(index=False))
    lungs, marker = locked(generator, chest, subjects, args.count), appearing(generator, chest, judge, 4 * args.count)
    added = planted(generator, chest, subjects, args.count)
    print(*(pd.DataFrame(part).round(4).to_string() for part in (lungs, added, marker)), *told.caveats(), sep="\n")
    if args.record:
        training = {name: generator.card.training[name] for name in ("budget", "images seen")}
        about = {"date": f"{date.today()}", "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
                 "generator": generator.card.name, "training": training, "films": generator.card.trained_on["images"], "hidden": args.hide,
                 "steps": generator.recipe.steps, "rows": frame.round(5).to_dict("records"), "locked": lungs, "nodule added": added, "marker appears": marker,
                 "notes": told.caveats()}  # fmt: skip
        place = Path(__file__).parent / "results" / f"counterfactuals-{Path(args.name).name}.json"
        place.write_text(json.dumps(about, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
