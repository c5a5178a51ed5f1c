"""A generator in service: how often undrifted patients disturb, which changes are noticed from how many, and the whole loop once.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_lifecycle.py [--parts quiet power loop] [--seeds 20] [--record]

Chest phantoms of 32 x 32 pixels with age, sex and effusion in the table; the scanner is told to nobody. `quiet` and `power` look through one encoder, which
was taught by further patients. `loop` trains a generator at site A, promotes it, meets site B, trains it on, promotes and serves its successor, and refuses
the former champion, who is worse there. Needs the extra mlops. `--record` writes the figures of these parts under results/.
"""
import argparse
import base64
import io
import json
import os
import platform
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import synthkit as sk
from synthkit.core.intervals import wilson
from synthkit.core.pixels import Pixels
from synthkit.metrics.encoder import trained_encoder

FACTORS = ("age", "sex", "effusion")
OLD, NEW, ALPHA = 300, 150, 0.01
SIZES = (25, 50, 100)
SERVED = 16  # images asked for over the socket
PHANTOM = sk.ChestPhantom(size=32)


@cache
def films(count: int, *, seed: int, site: str = "A") -> sk.Cohort:
    """Patients of one scanner; the table does not tell which."""
    drawn = PHANTOM.cohort(2 * count + 80, seed=seed).where(f"site == '{site}'")[:count]
    return replace(drawn, schema=drawn.schema.only(FACTORS))


def changed(cohort: sk.Cohort, change: Callable[[torch.Tensor], torch.Tensor]) -> sk.Cohort:
    """The same patients with other pixels; `change` is given grey levels from 0 to 1."""
    raw = torch.from_numpy(cohort.images.raw().astype(np.float32)) / 65535
    return replace(cohort, images=Pixels([(change(raw).clamp(0, 1) * 65535).round().numpy().astype(np.uint16)], cohort.space))


def blur(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Every pixel takes this share from the mean of its neighbourhood of 3 x 3."""
    return lambda x: (1 - share) * x + share * torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def older(cohort: sk.Cohort, years: float) -> sk.Cohort:
    """The same images with a table of older patients."""
    return replace(cohort, table=cohort.table.assign(age=(cohort.table["age"] + years).clip(upper=cohort.schema["age"].high)))


CHANGES: dict[str, Callable[[int, int], sk.Cohort]] = {
    "site B (another scanner)": lambda count, seed: films(count, seed=seed, site="B"),
    "gain + 5 %": lambda count, seed: changed(films(count, seed=seed), lambda x: 1.05 * x),
    "gain + 10 %": lambda count, seed: changed(films(count, seed=seed), lambda x: 1.1 * x),
    "blur, a quarter": lambda count, seed: changed(films(count, seed=seed), blur(0.25)),
    "10 years older (table only)": lambda count, seed: older(films(count, seed=seed), 10),
}


def quiet(args: argparse.Namespace) -> dict[str, Any]:
    """Alarms among undrifted seeds; old and new patients are drawn anew for each."""
    eye, begun, found = trained_encoder(films(OLD, seed=1)), time.monotonic(), []
    for seed in range(args.seeds):
        found.append(sk.drift(films(NEW, seed=5_000 + seed), train=films(OLD, seed=4_000 + seed), extractor=eye, alpha=ALPHA, seed=seed).p)
        print(f"  undrifted seed {seed}: p = {found[-1]:.3f}", flush=True)
    alarms = sum(p <= ALPHA for p in found)
    return {"seeds": args.seeds, "old": OLD, "new": NEW, "alpha": ALPHA, "alarms": alarms, "interval": wilson(alarms, args.seeds), "p": found,
            "seconds_per_test": round((time.monotonic() - begun) / args.seeds, 2)}  # fmt: skip


def power(args: argparse.Namespace) -> list[dict[str, Any]]:
    """How often each change is noticed, by the number of new patients."""
    eye, rows, seeds = trained_encoder(films(OLD, seed=1)), [], max(1, args.seeds // 2)
    for name, make in CHANGES.items():
        for size in SIZES:
            given = {"extractor": eye, "alpha": ALPHA, "times": 299}
            tests = [sk.drift(make(size, 7_000 + seed), train=films(OLD, seed=6_000 + seed), seed=seed, **given) for seed in range(seeds)]
            noticed = sum(test.alarm for test in tests)
            first = pd.Series([test.frame()["measure"].iloc[0] for test in tests if test.alarm]).mode()
            rows.append({"change": name, "new": size, "seeds": seeds, "noticed": noticed, "share": noticed / seeds, "interval": wilson(noticed, seeds),
                         "first_row": first.iloc[0] if len(first) else None})  # fmt: skip
            print(f"  {name}, {size} new patients: noticed in {noticed} of {seeds}", flush=True)
    return rows


def loop(args: argparse.Namespace) -> dict[str, Any]:
    """Train, promote, meet another scanner, train on, promote, serve, refuse."""
    gate, seconds = {"KID": ("<", 0.05)}, {}

    def timed(what: str, act: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        done = act()
        seconds[what] = round(time.monotonic() - begun, 1)
        print(f"  {what}: {seconds[what]} s", flush=True)
        return done

    with tempfile.TemporaryDirectory() as place:
        sk.track(f"sqlite:///{place}/runs.db")
        train, judged = films(700, seed=11), films(250, seed=12)
        recipe = sk.Diffusion(options={"widths": (32, 48, 64)}, steps=4)
        first = timed("train at site A, 600 steps", lambda: recipe.fit(train, budget="600 steps"))
        promoted = timed("promote", lambda: sk.promote(first, gate=gate, real=judged, train=train, name="chest"))
        given = {"train": train, "gate": gate, "name": "chest", "budget": "400 steps", "say": print}
        same = timed("watch 300 new patients of site A", lambda: sk.watch(films(300, seed=13), run=f"{place}/same", **given))
        moved = timed("watch 500 new patients of site B", lambda: sk.watch(films(500, seed=14, site="B"), run=f"{place}/moved", **given))
        _, test = films(500, seed=14, site="B").split((0.6, 0.4), by="patient_id", seed=0)
        loose = {"KID": ("<", 10.0)}  # so that only the champion stands in its way
        worse = timed("promote the former champion", lambda: sk.promote(first, gate=loose, real=test, train=moved.learnt, name="chest"))
        equal = timed("serve and ask over a socket", lambda: served(place))
        answer = {
            "quiet": same.outcome, "p_quiet": same.drift.p, "moved": moved.outcome, "p_moved": moved.drift.p, "steps": json_rows(moved.frame()),
            "first": json_rows(promoted.frame()), "successor": json_rows(moved.promotion.frame()), "worse": worse.decision, "worse_reason": worse.reason,
            "worse_checks": json_rows(worse.frame()),
            "served_version": sk.champion("chest").version, "served_bytes_equal": equal, "seconds": seconds,
        }  # fmt: skip
        sk.track(None)
    return answer


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records", double_precision=6))


def served(place: str) -> bool:
    """Whether what the champion answers over a socket equals what its generator samples, byte for byte."""
    from synthkit.lifecycle.serve import serve_command

    champion = sk.champion("chest")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with open(f"{place}/server.log", "wb") as log:
        server = subprocess.Popen(serve_command(champion.uri, port=port), env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2)
                break
            except OSError:
                time.sleep(0.5)
        wanted = champion.generator.schema.grid(effusion=["absent", "present"], sex=["F", "M"], age=[30, 70], each=SERVED // 8)
        split = {"columns": list(wanted), "data": wanted.to_numpy(object).tolist()}
        body = json.dumps({"dataframe_split": split, "params": {"seed": 5, "form": "npy"}}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
        rows = json.load(urllib.request.urlopen(request, timeout=300))["predictions"]
        arrays = np.stack([np.load(io.BytesIO(base64.b64decode(row["npy"])), allow_pickle=False) for row in rows])
        return bool((arrays == champion.generator.sample(wanted, seed=5).images.raw()).all())
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=60)


PARTS = {"quiet": quiet, "power": power, "loop": loop}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = Path(__file__).parent / "results" / "lifecycle-cpu.json"
    kept = json.loads(path.read_text()) if args.record and path.is_file() else {}
    for part in args.parts:
        begun = time.monotonic()
        measured = PARTS[part](args)
        machine = f"{platform.machine()}, {os.cpu_count()} cores, one thread"
        kept[part] = {"date": date.today().isoformat(), "machine": machine, "seconds": round(time.monotonic() - begun), "measured": measured}
        print(json.dumps(kept[part], indent=1)[:4_000], flush=True)
        if args.record:
            path.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
