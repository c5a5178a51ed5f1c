"""Many images measured: killed at random moments, ten times as many in the same memory, and the same from every engine.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_scale.py [--parts kills memory engines] [--kills 50] [--images 20000] [--record]

A toy generator (16 x 16, two evaluations per image) draws, so that what is measured is the work around the network rather than the network. Every
generation runs in a process of its own. `engines` needs Ray. `--record` writes the figures of these parts under results/.
"""
import argparse
import json
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import psutil
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]
from toys import SMALL_NET, toy_cohort, toy_table  # noqa: E402

import synthkit as sk  # noqa: E402

SEED = 4


def made(folder: Path, images: int) -> None:
    """A toy generator and a table of requests, one row per image."""
    sk.Diffusion(options=SMALL_NET, batch_size=16, steps=1).fit(toy_cohort(24), budget="2 steps", seed=0).save(folder / "gen")
    toy_table(images).to_csv(folder / f"want-{images}.csv", index=False)


def words(folder: Path, images: int, out: str, *options: str) -> list[str]:
    return [sys.executable, str(Path(__file__).resolve()), "--one", str(folder), str(images), out, *options]


def one(folder: Path, images: int, out: str, engine: str, workers: str, shard_size: str) -> dict[str, object]:
    """One generation, and what it took: this process and its children."""
    torch.set_num_threads(1)
    print("begun", flush=True)
    before = cpu()
    done = sk.generate(folder / "gen", folder / f"want-{images}.csv", out=folder / out, seed=SEED, engine=engine, workers=int(workers),
                       shard_size=None if shard_size == "auto" else int(shard_size))  # fmt: skip
    return {"root": done.root, "seconds": done.seconds, "cpu_s": cpu() - before, "peak_mb": peak_mb(), "drawn": done.drawn}


def peak_mb() -> float:
    """The most memory that this process had; what getrusage tells is never less than what the process that started it had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def run(folder: Path, images: int, out: str, engine: str = "local", workers: int = 1, shard_size: str = "auto") -> dict[str, object]:
    told = subprocess.run(words(folder, images, out, engine, str(workers), shard_size), capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(told.stderr)
    return json.loads(told.stdout.strip().splitlines()[-1])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def await_end(family: list[psutil.Process], seconds: float = 30) -> None:
    """Wait until the workers of a killed process have ended too."""
    until = time.monotonic() + seconds
    while any(lives(one) for one in family):
        if time.monotonic() > until:
            raise SystemExit("a worker outlived the process that started it")
        time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that nobody waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kills(args: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """Kill the process, with and without workers beside it, again and again, until a generation of 5,000 images is whole; and so on with the next."""
    made(folder, 5000)
    whole = run(folder, 5000, "whole", shard_size="50")
    expected, chance, killed, rounds, starts_of, torn, amid = content(folder / "whole"), random.Random(SEED), 0, 0, [], 0, 0
    began = time.monotonic()
    while killed < args.kills:
        rounds, starts = rounds + 1, 0
        out, workers = f"cut-{rounds}", str(1 + rounds % 2)
        while True:
            starts += 1
            program = subprocess.Popen(words(folder, 5000, out, "local", workers, "50"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            program.stdout.readline()
            try:
                _, said = program.communicate(timeout=chance.uniform(0, 1.2 * whole["seconds"]) if killed < args.kills else None)
                if program.returncode:
                    raise SystemExit(said)
                break
            except subprocess.TimeoutExpired:
                family = psutil.Process(program.pid).children()
                program.send_signal(signal.SIGKILL)
                program.communicate()
                killed += 1
                amid += any((folder / out / ".generation").glob("shard-*"))
                torn += any(path.suffix == ".part" for path in (folder / out).rglob("*"))
                await_end(family)
        starts_of.append(starts)
        same = content(folder / out) == expected
        ids = sk.load(folder / out).table["request_id"]
        if not (same and ids.is_unique and len(ids) == 5000 and sk.verify(folder / out).passed):
            raise SystemExit(f"round {rounds}: not what an undisturbed generation gives")
    return pd.DataFrame([{"images": 5000, "kills": killed, "generations": rounds, "identical": rounds, "most_starts_of_one": max(starts_of),
                          "kills_after_the_first_shard": amid, "kills_in_the_middle_of_a_file": torn, "minutes": (time.monotonic() - began) / 60}])  # fmt: skip


def memory(args: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """As many images, ten times as many, and as many again."""
    rows = []
    for number, images in enumerate((args.images, 10 * args.images, args.images)):
        made(folder, images)
        told = run(folder, images, f"out-{number}")
        rows.append({"images": images, "ms_per_image": told["seconds"] / images * 1e3, "cpu_ms_per_image": told["cpu_s"] / images * 1e3,
                     "peak_mb": told["peak_mb"]})  # fmt: skip
    few, many = pd.DataFrame([rows[0], rows[2]]).mean(), rows[1]
    ratio = {name: many[name] / few[name] for name in ("ms_per_image", "cpu_ms_per_image", "peak_mb")}
    return pd.DataFrame([*rows, {"images": "ten times as many / as many", **ratio}])


def engines(args: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """Rates from two sizes each, so that starting does not count; and whether the digests agree. What Ray's processes use of the processor is not seen."""
    small, large = args.images // 4, args.images
    for images in (small, large):
        made(folder, images)
    rows = []
    for engine, workers in (("local", 1), ("local", 2), ("ray", 1), ("ray", 2)):
        told = [run(folder, images, f"{engine}-{workers}-{images}", engine, workers) for images in (small, large)]
        seconds = told[1]["seconds"] - told[0]["seconds"]
        rate, used = (large - small) / seconds, (told[1]["cpu_s"] - told[0]["cpu_s"]) / (large - small) * 1e3
        rows.append({"engine": engine, "workers": workers, "images_per_s": rate, "seconds_to_start": told[0]["seconds"] - small / rate,
                     "cpu_ms_per_image": used if engine == "local" else None, "root": told[1]["root"]})  # fmt: skip
    table = pd.DataFrame(rows)
    alone = table.set_index("engine").query("workers == 1")["images_per_s"]
    table["efficiency"] = table["images_per_s"] / table["workers"] / table["engine"].map(alone)
    table["same_root"] = table["root"] == table["root"].iloc[0]
    return table.drop(columns="root")


PARTS = {"kills": kills, "memory": memory, "engines": engines}


def main() -> None:
    if "--one" in sys.argv[1:2]:
        folder, images, *rest = sys.argv[2:]
        print(json.dumps(one(Path(folder), int(images), *rest)))
        return
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--images", type=int, default=20_000)
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    for part in args.parts:
        with TemporaryDirectory(prefix="synthkit-bench-") as folder:
            table = PARTS[part](args, Path(folder))
        print(f"\n{part}\n{table.to_string(index=False, float_format='{:.4g}'.format, na_rep='')}", flush=True)
        if args.record:
            record(part, table)


def record(part: str, table: pd.DataFrame) -> None:
    facts = {"date": str(date.today()), "device": platform.processor() or platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    place = HERE / "results" / "scale-cpu.json"
    before = json.loads(place.read_text()) if place.is_file() else {}
    place.write_text(json.dumps(before | {part: facts | {"rows": json.loads(table.to_json(orient="records"))}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
