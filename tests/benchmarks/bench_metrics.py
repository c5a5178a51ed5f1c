"""The metrics measured: distances beside the usual packages in time and memory, radiomic features per second.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_metrics.py [--parts distances radiomics] [--count 5000] [--width 2048] [--rounds 3] [--record]

`distances` runs each side in a process of its own, on one thread, and needs torchmetrics (comes with pytorch-lightning) and
`pip install --no-deps prdc vendi-score`. `--record` writes the figures of these parts under results/.
"""
import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import torch

Jobs = dict[str, Callable[[torch.Tensor, torch.Tensor], object]]
NEIGHBOURS = 5
PYRADIOMICS_MS = (13, 18)  # an image of 64 x 64, 93 features, on one core of an EPYC virtual machine


def ours() -> Jobs:
    """Each score as a user asks for it."""
    from synthkit.metrics.frechet import FrechetDistance
    from synthkit.metrics.kernel import KID
    from synthkit.metrics.neighbours import Coverage, Density, Precision, Recall
    from synthkit.metrics.vendi import Vendi

    def neighbours(real: torch.Tensor, fake: torch.Tensor) -> tuple[float, ...]:
        return tuple(metric.compute(real, fake) for metric in (Precision(), Recall(), Density(), Coverage()))

    return {"Frechet": FrechetDistance().compute, "KID": KID().compute, "P/R/D/C": neighbours, "Vendi": Vendi().compute}


def theirs() -> Jobs:
    """torchmetrics 1.9 (KID: 100 subsets of 1,000), prdc and vendi-score (the d x d form)."""
    try:
        from prdc import compute_prdc
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
        from vendi_score.vendi import score_dual
    except ImportError as error:
        raise SystemExit(f"{error.name} is missing: pip install torchmetrics && pip install --no-deps prdc vendi-score") from error

    def with_updates(metric: torch.nn.Module, real: torch.Tensor, fake: torch.Tensor) -> object:
        metric.update(real, real=True)
        metric.update(fake, real=False)
        return metric.compute()

    def eye(width: int) -> torch.nn.Module:
        module = torch.nn.Identity()
        module.num_features = width
        return module

    return {
        "Frechet": lambda real, fake: with_updates(FrechetInceptionDistance(feature=eye(real.shape[1])), real, fake),
        "KID": lambda real, fake: with_updates(KernelInceptionDistance(feature=eye(real.shape[1]), subsets=100, subset_size=min(1000, len(real))), real, fake),
        "P/R/D/C": lambda real, fake: tuple(compute_prdc(real.numpy(), fake.numpy(), nearest_k=NEIGHBOURS).values()),
        "Vendi": lambda real, fake: score_dual(fake.double().numpy()),
    }


def readable(value: object) -> str:
    """One number, or several (the first of KID's two is the mean over its subsets)."""
    return " ".join(f"{float(number):.6g}" for number in (value if isinstance(value, tuple) else (value,)))


def one_side(jobs: Jobs, count: int, width: int) -> dict[str, object]:
    """Wall and processor seconds of each job, its value, and the growth of the peak memory in GB."""
    torch.set_num_threads(1)
    real, fake = (torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + 0.1 * seed for seed in (0, 1))
    before, rows = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for name, job in jobs.items():
        wall, cpu = time.perf_counter(), time.process_time()
        value = job(real, fake)
        rows.append({"what": name, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "value": readable(value)})
    return {"rows": rows, "memory_gb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20}


SIDES = {"ours": ours, "theirs": theirs}


def distances(args: argparse.Namespace) -> pd.DataFrame:
    """Median seconds of both sides, taken in turns; the peak memory that each adds to the features."""
    found: dict[str, list[dict]] = {side: [] for side in SIDES}
    for _ in range(args.rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side, "--count", str(args.count), "--width", str(args.width)]
            done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    table = {}
    for side, runs in found.items():
        for measure in ("wall_s", "cpu_s"):
            column = {run["what"]: [] for run in runs[0]["rows"]} | {"total": []}
            for run in runs:
                for row in run["rows"]:
                    column[row["what"]].append(row[measure])
                column["total"].append(sum(row[measure] for row in run["rows"]))
            table[f"{side}_{measure}"] = {what: statistics.median(values) for what, values in column.items()}
        table[f"{side}_memory_gb"] = {"total": max(run["memory_gb"] for run in runs)}
        table[f"{side}_value"] = {row["what"]: row["value"] for row in runs[0]["rows"]}
    frame = pd.DataFrame(table)
    frame.insert(0, "times_faster_cpu", frame["theirs_cpu_s"] / frame["ours_cpu_s"])
    return frame.rename_axis("what").reset_index()


def radiomics(args: argparse.Namespace) -> pd.DataFrame:
    """Images per second of 93 features, 64 x 64 pixels of 8 bits in batches of 64, on one thread."""
    from synthkit.metrics.radiomics.table import radiomics as table_of
    from synthkit.phantoms.chest import ChestPhantom

    torch.set_num_threads(1)
    images = ((ChestPhantom(size=64).cohort(64, seed=0).images.tensor() + 1) * 127.5).round().to(torch.uint8)
    table_of(images)
    rates = []
    for _ in range(args.rounds):
        start = time.process_time()
        table_of(images)
        rates.append(len(images) / (time.process_time() - start))
    low, high = (1000 / ms for ms in reversed(PYRADIOMICS_MS))
    rate = statistics.median(rates)
    return pd.DataFrame([{"what": "images per cpu second", "ours": rate, "low": min(rates), "high": max(rates), "pyradiomics_low": low,
                          "pyradiomics_high": high, "times_faster": rate / high}])  # fmt: skip


PARTS = {"distances": distances, "radiomics": radiomics}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options.add_argument("--count", type=int, default=5000)
    options.add_argument("--width", type=int, default=2048)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--record", action="store_true")
    options.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.side:
        print(json.dumps(one_side(SIDES[args.side](), args.count, args.width)))
        return
    found = {part: PARTS[part](args) for part in args.parts}
    for part, table in found.items():
        print(f"\n{part}\n{table.to_string(index=False, float_format='{:.4g}'.format, na_rep='')}")
    if args.record:
        facts = {"date": str(date.today()), "device": platform.processor() or platform.machine(), "threads": 1, "torch": torch.__version__}
        place = Path(__file__).parent / "results" / "metrics-cpu.json"
        before = json.loads(place.read_text()) if place.is_file() else {}
        measured = {part: facts | {"rows": json.loads(table.to_json(orient="records"))} for part, table in found.items()}
        place.write_text(json.dumps(before | measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
