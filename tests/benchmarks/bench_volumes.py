"""Volumes per second in training and sampling, and peak memory, beside MONAI's 3D DiffusionModelUNet at equal size, in one run.

    python tests/benchmarks/bench_volumes.py [--size 48] [--channels 1] [--seconds 40] [--record]

Each contender runs in a fresh process, in turns, three rounds. Training is one optimiser step on batches of two; sampling is one evaluation of the
velocity on batches of two, since all contenders are sampled by the same solvers. Memory is the most a process held beyond what it held before
its network was made.
"""
import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pandas as pd
import torch

from synthkit.core.device import accelerator, precision
from synthkit.nets.adapters import MonaiUNet
from synthkit.nets.unet import UNet

ROUNDS, BATCH, WIDTH = 3, 2, 16
CONTENDERS = {  # name: (class, options, bf16)
    "synthkit UNet": (UNet, {}, True),
    "synthkit UNet, float32": (UNet, {}, False),
    "MONAI DiffusionModelUNet": (MonaiUNet, {}, False),
    "MONAI DiffusionModelUNet, bf16": (MonaiUNet, {}, True),
    "MONAI behind voxel-unshuffle x2, bf16": (MonaiUNet, {"patch": 2}, True),
}


def held() -> float:
    """The most memory that this process held so far, in MB; on a GPU what torch took there."""
    if accelerator() == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measured(name: str, size: int, channels: int, seconds: float) -> dict[str, float]:
    kind, options, fast = CONTENDERS[name]
    device, before = accelerator(), held()
    torch.manual_seed(0)
    net = kind(channels=channels, size=(size,) * 3, condition_width=WIDTH, **options).to(device, memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    x = torch.randn(BATCH, channels, size, size, size, device=device).contiguous(memory_format=torch.channels_last_3d)
    t, c = torch.rand(BATCH, device=device), torch.randn(BATCH, WIDTH, device=device)
    cast = torch.autocast(device, dtype=torch.bfloat16, enabled=fast and precision(device) == "bf16-mixed")

    def teach() -> None:
        with cast:
            loss = (net(x, t, c).float() - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def evaluate() -> None:
        with torch.inference_mode():
            net(x, t, c)

    found = {"parameters (millions)": sum(p.numel() for p in net.parameters()) / 1e6}
    for what, step in (("sampling", evaluate), ("training", teach)):
        step()
        found[f"memory of {what} (MB)"] = held() - before
        began, count = time.perf_counter(), 0
        while count < 2 or time.perf_counter() - began < seconds / 2:
            step()
            count += 1
        if device == "cuda":
            torch.cuda.synchronize()
        found[f"{what}, volumes/s"] = count * BATCH / (time.perf_counter() - began)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--size", type=int, default=48)
    options.add_argument("--channels", type=int, default=1)
    options.add_argument("--seconds", type=float, default=40)
    options.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    if args.one:
        print(json.dumps(measured(args.one, args.size, args.channels, args.seconds)))
        return
    rows = []
    for number in range(ROUNDS):
        for name in CONTENDERS:
            again = [sys.executable, __file__, "--one", name, "--size", f"{args.size}", "--channels", f"{args.channels}", "--seconds", f"{args.seconds}"]
            said = subprocess.run(again, capture_output=True, text=True, check=True, env=os.environ).stdout
            rows.append({"network": name, "round": number, **json.loads(said)})
    every = pd.DataFrame(rows)
    table = every.drop(columns="round").groupby("network", sort=False).median()
    peer = table.loc["MONAI DiffusionModelUNet"]
    for what in ("training", "sampling"):
        ratio = every.pivot(index="round", columns="network", values=f"{what}, volumes/s")
        ratio = ratio.div(ratio["MONAI DiffusionModelUNet"], axis=0)
        table[f"{what}, times MONAI"] = table[f"{what}, volumes/s"] / peer[f"{what}, volumes/s"]
        table[f"{what}, of {ROUNDS} rounds"] = [f"{ratio[name].min():.2f}..{ratio[name].max():.2f}" for name in table.index]
    print(table.round(3).T.to_string())
    if args.record:
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
        about = {"date": f"{date.today()}", "device": where, "threads": torch.get_num_threads(), "size": args.size, "channels": args.channels, "batch": BATCH,
                 "rows": table.reset_index().to_dict("records")}  # fmt: skip
        kind = "cpu" if accelerator() == "cpu" else "cuda"
        (Path(__file__).parent / "results" / f"volumes-{args.size}-{kind}.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
