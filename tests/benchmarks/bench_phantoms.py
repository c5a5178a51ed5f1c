"""The phantoms measured: speed beside training, likeness to real films, the oracle's readings, the learned causal model.

    python tests/benchmarks/bench_phantoms.py [--parts speed realism oracle causal volumes] [--subjects 200] [--device cpu] [--record]

`realism` needs SYNTHKIT_DATA with nih-cxr64. `--record` writes the figures of these parts under results/.
"""
import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import synthkit as sk
from synthkit.core.device import accelerator
from synthkit.training.data import TrainingData
from synthkit.training.plan import Plan
from synthkit.training.trainer import train

ROUNDS = 3
SEED = 31_000


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def speed(args: argparse.Namespace) -> pd.DataFrame:
    """Images per second of drawing a cohort, table and all, and of a training step on images of that size, in turns."""
    chest, device = sk.ChestPhantom(size=64), args.device
    data = chest.cohort(256, seed=0)
    fed, recipe = TrainingData(data, data.schema.encode(data.table), batch_size=32, seed=0), sk.Diffusion()

    def training() -> None:
        train(recipe.network(data.schema, data.space), fed, Plan(sk.Steps(48), batch_size=32, device=accelerator(device), title="training"))

    jobs = {
        "chest 64 x 64": (1536, lambda: chest.cohort(1536, seed=1, device=device)),
        "training step 64 x 64": (48 * 32, training),
        "chest 256 x 256": (48, lambda: sk.ChestPhantom(size=256).cohort(48, seed=1, device=device)),
        "brain 64 x 64 x 64 x 4": (8, lambda: sk.BrainPhantom(size=64).cohort(8, seed=1, device=device)),
        "nodule 48 x 48 x 48": (16, lambda: sk.NodulePhantom(size=48).cohort(16, seed=1, device=device)),
    }
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, (count, job) in jobs.items():
            rates[name].append(count / seconds(job))
    table = pd.DataFrame([{"what": name, "per_second": statistics.median(r), "low": min(r), "high": max(r)} for name, r in rates.items()])
    by_name = table.set_index("what")["per_second"]
    share = by_name["training step 64 x 64"] / by_name["chest 64 x 64"]
    return pd.concat([table, pd.DataFrame([{"what": "time of drawing / time of training, 64 x 64", "per_second": share}])], ignore_index=True)


def likeness(films: np.ndarray) -> dict[str, np.ndarray]:
    """Per film (N, 64, 64) in 0..1: grey-level quantiles, slope of the power spectrum, lung against mediastinum."""
    count, side, _ = films.shape
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = np.abs(np.fft.fftshift(np.fft.fft2((films - films.mean((1, 2), keepdims=True)) * window), axes=(1, 2))) ** 2
    rows, columns = np.mgrid[:side, :side] - side // 2
    rings, radii = np.hypot(rows, columns), np.arange(2, side // 2 - 2)
    profile = np.stack([power[:, (rings >= radius - 0.5) & (rings < radius + 0.5)].mean(1) for radius in radii], 1)
    slope = np.polyfit(np.log(radii), np.log(profile + 1e-12).T, 1)[0]
    quantiles = np.quantile(films.reshape(count, -1), [0.05, 0.25, 0.5, 0.75, 0.95], axis=1)
    middle = films[:, 24:44, 28:36].mean((1, 2))
    lungs = (films[:, 16:36, 12:22].mean((1, 2)) + films[:, 16:36, 42:52].mean((1, 2))) / 2
    grey = {f"grey level, {share} % quantile": level for share, level in zip((5, 25, 50, 75, 95), quantiles, strict=True)}
    return grey | {"mean": films.mean((1, 2)), "standard deviation": films.std((1, 2)), "power spectrum, slope": slope, "mediastinum - lung": middle - lungs}


def realism(args: argparse.Namespace) -> pd.DataFrame:
    """The phantom's median beside the real films' 10, 50 and 90 % quantiles, and the share of phantom films between 10 and 90."""
    cohorts = (sk.load("nih-cxr64"), sk.ChestPhantom(size=64).cohort(400, seed=SEED))
    real, drawn = (likeness(cohort.images.tensor()[:, 0].numpy() / 2 + 0.5) for cohort in cohorts)
    rows = []
    for name, values in real.items():
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        rows.append({"what": name, "real_10": low, "real_50": middle, "real_90": high, "phantom_50": np.median(drawn[name]),
                     "inside": np.mean((drawn[name] >= low) & (drawn[name] <= high)), "n_real": len(values), "n_phantom": 400})  # fmt: skip
    return pd.DataFrame(rows)


def oracle(args: argparse.Namespace) -> pd.DataFrame:
    """Each factor read off noisy films by the oracle: R2 of quantities, accuracy of categories."""
    from joblib import Parallel, cpu_count, delayed

    phantom = sk.ChestPhantom(size=64)
    everyone = phantom.factors_table(8 * args.subjects, seed=SEED + 1)

    def reading(name: str) -> dict[str, object]:
        torch.set_num_threads(1)
        chosen = everyone[everyone[name].notna()].head(args.subjects).reset_index(drop=True)
        read = phantom.read(phantom.render(chosen) * 2 - 1, given=chosen, factor=name)["value"]
        if isinstance(phantom.schema[name], sk.Category):
            return {"what": name, "measure": "accuracy", "value": (read == chosen[name]).mean(), "n": len(chosen)}
        error = (read - chosen[name]).to_numpy(float)
        return {"what": name, "measure": "R2", "value": 1 - (error**2).sum() / ((chosen[name] - chosen[name].mean()) ** 2).sum(),
                "mae": np.abs(error).mean(), "n": len(chosen)}  # fmt: skip

    return pd.DataFrame(Parallel(n_jobs=cpu_count())(delayed(reading)(name) for name in phantom.schema.names))


def causal(args: argparse.Namespace) -> pd.DataFrame:
    """A causal model fitted on 8,192 rows against the true equations: interventions and counterfactuals."""
    phantom = sk.ChestPhantom()
    truth = phantom.scm
    learned = truth.graph.fit(phantom.factors_table(8192, seed=SEED + 2))
    return pd.concat([_interventions(truth, learned), _counterfactuals(phantom, truth, learned)], ignore_index=True)


def _interventions(truth: sk.SCM, learned: sk.SCM, count: int = 20, sample: int = 8192) -> pd.DataFrame:
    """Means of every descendant under random interventions, in standard errors of their difference."""
    draws, rows = np.random.default_rng(SEED), []
    causes = [name for name in truth.graph.order if truth.graph.descendants([name])]
    for number in range(count):
        factor = truth.graph.schema[causes[draws.integers(len(causes))]]
        value = str(draws.choice(factor.levels)) if isinstance(factor, sk.Category) else float(draws.uniform(*truth_range(truth, factor)))
        ours, theirs = (model.do({factor.name: value}).sample(sample, seed=number + at) for at, model in ((0, truth), (5000, learned)))
        for name in truth.graph.descendants([factor.name]):
            a, b = (_numbers(truth, name, table) for table in (ours, theirs))
            if len(a) > 30 and len(b) > 30:
                error = (a.var() / len(a) + b.var() / len(b)) ** 0.5
                rows.append(abs(a.mean() - b.mean()) / max(error, 1e-9))
    gaps = np.array(rows)
    found = {f"{count} interventions: largest difference of means": ("standard errors", gaps.max()), "beyond 3.5": ("count", (gaps > 3.5).sum())}
    return pd.DataFrame([{"what": what, "measure": measure, "value": value, "n": len(gaps)} for what, (measure, value) in found.items()])


def truth_range(truth: sk.SCM, factor: sk.Quantity) -> tuple[float, float]:
    """The middle nine tenths of a quantity."""
    return tuple(truth.sample(2000, seed=SEED)[factor.name].quantile([0.05, 0.95]))


def _numbers(truth: sk.SCM, name: str, table: pd.DataFrame) -> np.ndarray:
    known = table[name].dropna()
    factor = truth.graph.schema[name]
    return (known == factor.levels[-1]).to_numpy(float) if isinstance(factor, sk.Category) else known.to_numpy(float)


def _counterfactuals(phantom: sk.ChestPhantom, truth: sk.SCM, learned: sk.SCM) -> pd.DataFrame:
    """Each child with all its parents set at once, so that its own mechanism alone is judged."""
    table, rows = phantom.factors_table(1000, seed=SEED + 3), []
    settings = {"age": 75.0, "sex": "M", "bmi": 30.0, "cardiomegaly": "present", "heart_ratio": 0.52, "effusion": "present", "lesion_radius": 20.0}
    for child in truth.graph.order:
        parents = truth.graph.parents(child)
        if not parents:
            continue
        chosen = table[table[child].notna()].reset_index(drop=True)
        do = {parent: settings[parent] for parent in parents}
        if isinstance(truth.graph.schema[child], sk.Category):
            a, b = (model.counterfactual(chosen, do).probabilities for model in (truth, learned))
            gap = np.abs(a[child].to_numpy() - b[child].to_numpy())
            rows.append({"what": f"{child}: counterfactual probability", "measure": "largest difference", "value": gap.max(), "n": len(chosen)})
        else:
            exact = phantom.counterfactual_table(chosen, do, effect="total")[child]
            error = learned.counterfactual(chosen, do).edited[child] - exact
            skill = float((error**2).mean() ** 0.5 / table[child].std())
            rows.append({"what": f"{child}: counterfactual", "measure": "RMSE / SD", "value": skill, "n": len(chosen)})
    return pd.DataFrame(rows)


def volumes(args: argparse.Namespace) -> pd.DataFrame:
    """The brain under interventions on its volumes: error of the target, and the largest change of any other."""
    phantom, rows = sk.BrainPhantom(size=64), []
    table = phantom.factors_table(6, seed=SEED + 4)
    before = phantom.volumes(table)
    for structure, factor, value in (("brain", "brain_volume", 1300.0), ("ventricles", "ventricle_volume", 45.0), ("wm_lesions", "wm_lesion_load", 20.0)):
        after = phantom.volumes(phantom.counterfactual_table(table, {factor: value}))
        others = [name for name in ("brain", "ventricles", "wm_lesions", "tumour") if name != structure]
        rows.append({"what": f"do {factor} = {value:g} ml", "measure": "largest relative error", "value": (after[structure] / value - 1).abs().max(),
                     "others_ml": (after[others] - before[others]).abs().max().max(), "n": len(table)})  # fmt: skip
    return pd.DataFrame(rows)


PARTS = {"speed": speed, "realism": realism, "oracle": oracle, "causal": causal, "volumes": volumes}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options.add_argument("--subjects", type=int, default=200)
    options.add_argument("--device", default="cpu")
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    found = {part: PARTS[part](args) for part in args.parts}
    for part, table in found.items():
        print(f"\n{part}\n{table.to_string(index=False, float_format='{:.5g}'.format, na_rep='')}")
    if args.record:
        name = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
        facts = {"date": str(date.today()), "device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}
        place = Path(__file__).parent / "results" / f"phantoms-{args.device}.json"
        before = json.loads(place.read_text()) if place.is_file() else {}
        measured = {part: facts | {"rows": json.loads(table.to_json(orient="records"))} for part, table in found.items()}
        place.write_text(json.dumps(before | measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
