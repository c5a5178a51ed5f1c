"""Which metric sees which fault: graded corruptions of real images, as a table, a figure and a record.

    python tests/benchmarks/bench_sensitivity.py --images 400 --out sensitivity
    python tests/benchmarks/bench_sensitivity.py --data nih-cxr64 --factor sex --out sensitivity-nih
"""
import argparse
import json
from pathlib import Path

import synthkit as sk

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="chest-phantom", help="the phantom, or a name or folder that sk.load takes")
    parser.add_argument("--images", type=int, default=400, help="phantom films to spoil; half as many again teach the encoder")
    parser.add_argument("--factor", default="sex")
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("sensitivity"), help="folder for the figure and the table")
    parser.add_argument("--record", action="store_true", help="keep the table under tests/benchmarks/results")
    given = parser.parse_args()
    if given.data == "chest-phantom":
        phantom = sk.ChestPhantom(size=64)
        real, train = phantom.cohort(given.images, seed=31), phantom.cohort(given.images + given.images // 2, seed=32)
    else:
        train, real = sk.load(given.data).split((0.5, 0.5), seed=0)
    study = sk.sensitivity(real, train=train, factor=given.factor, splits=given.splits)
    given.out.mkdir(parents=True, exist_ok=True)
    study.frame().to_csv(given.out / "sensitivity.csv", index=False)
    sk.Report(study.title, [study]).save(given.out / "report.html")
    seen = study.seen()
    print(seen.drop(columns="extractor").to_string(index=False))
    if given.record:
        rows = study.frame()[["corruption", "degree", "metric", "value", "floor", "z", "n", "splits"]]
        record = {"data": given.data, "images": len(real), "factor": given.factor, "splits": given.splits, "rows": rows.round(4).to_dict("records")}
        (RESULTS / f"sensitivity-{given.data}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
