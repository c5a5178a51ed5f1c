"""Edits of real chest films of unseen patients: what independent judges read, the raw round trip, and whether a witness follows a flip.

    python tests/benchmarks/bench_nih_edits.py [--minutes 12] [--folder nih-edits] [--record]

Patients are split in three: those that the generator learns from, those that judge and classifiers learn from, and those that are edited.
No truth exists here: the figures are those of judges with errors of their own, whose scores on the same patients stand beside. Look at the sheets.
"""
import argparse
import json
from datetime import date
from pathlib import Path

import numpy as np
import torch

import synthkit as sk

EDITS = [{"sex": "M"}, {"sex": "F"}, {"cardiomegaly": "present"}, {"cardiomegaly": "absent"}, {"effusion": "present"}, {"effusion": "absent"}]
READ = ("sex", "cardiomegaly", "effusion", "age", "view")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--minutes", type=float, default=12)
    options.add_argument("--steps", type=int, default=400, help="of judge and classifiers, at most")
    options.add_argument("--folder", type=Path, default=Path("nih-edits"))
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    films = sk.load("nih-cxr64")
    train, teach, test = films.split((0.5, 0.25, 0.25), by="patient_id", seed=0)
    generator = sk.Diffusion().fit(train, budget=sk.Minutes(args.minutes), seed=0, run=args.folder / "run")
    generator.save(args.folder / "generator")
    judge = sk.Classifier(READ).fit(teach, budget=sk.Steps(args.steps), seed=0)
    eyes = [sk.Classifier("effusion").fit(teach, budget=sk.Steps(args.steps), seed=seed, balance="effusion") for seed in (1, 2)]
    scores = judge.score(test)
    told = sk.soundness(generator, test, judge=judge, edits=EDITS, library=train, count=48)
    least = sk.flip(generator, eyes[0], test.where("view == 'PA'")[:24], target="effusion", witness=eyes[1])
    parts = [told, least]
    for do, who in ((EDITS[0], "sex == 'F'"), (EDITS[1], "sex == 'M'"), (EDITS[2], "cardiomegaly == 'absent'"), (EDITS[5], "effusion == 'present'")):
        parts.append(sk.counterfactual(generator, test.where(who)[:6], do=do))
    for number, part in enumerate(parts):
        part.figure().write_html(args.folder / f"{number:02d}.html")
    sk.Report("Edits of NIH chest films", parts).save(args.folder / "report.html")
    for table in (scores, told.frame(), least.frame()):
        print(table.round(3).to_string())
    print(*told.caveats(), sep="\n")
    if args.record:
        tables = {"judge": scores, "soundness": told.frame(), "flip": least.frame()}
        record = {"date": f"{date.today()}", "minutes": args.minutes, "threads": torch.get_num_threads(),
                  "patients": {name: int(part.table["patient_id"].nunique()) for name, part in (("train", train), ("teach", teach), ("test", test))},
                  **{name: table.replace({np.nan: None}).to_dict("records") for name, table in tables.items()}, "notes": told.caveats()}  # fmt: skip
        (Path(__file__).parent / "results" / "edits-nih-cxr64.json").write_text(json.dumps(record, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
