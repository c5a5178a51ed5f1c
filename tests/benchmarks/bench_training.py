"""Training speed in images/s at 64 x 64, all in one run: ours, the bare loop, MONAI's and diffusers' networks.

    python tests/benchmarks/bench_training.py [--seconds 20] [--size 64] [--device auto] [--record]

Every contender trains on the same images with the same batch size for the same wall-clock time, in turns (round
robin, three rounds), so that a noisy machine is noisy for all. `--record` writes the figures under results/.
"""
import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch

import synthkit as sk
from synthkit.core.device import accelerator, precision
from synthkit.generators.diffusion import FlowNetwork
from synthkit.nets.network import Batch
from synthkit.training.data import TrainingData
from synthkit.training.plan import Plan
from synthkit.training.trainer import train

ROUNDS = 3
OURS, MONAI, DIFFUSERS = "synthkit.nets.unet:UNet", "synthkit.nets.adapters:MonaiUNet", "synthkit.nets.adapters:DiffusersUNet"
CONTENDERS = {  # name: (backbone, options, bf16, channels_last, fused optimiser)
    "synthkit network, bare loop": (OURS, {}, True, True),
    "synthkit network, bare loop, float32": (OURS, {}, False, True),
    "MONAI DiffusionModelUNet, full resolution, float32": (MONAI, {}, False, False),
    "MONAI behind pixel-unshuffle x2, bf16": (MONAI, {"patch": 2}, True, True),
    "diffusers UNet2DModel behind pixel-unshuffle x2, bf16": (DIFFUSERS, {}, True, True),
}


def network(recipe: sk.Diffusion, cohort: sk.Cohort) -> FlowNetwork:
    torch.manual_seed(0)
    return recipe.network(cohort.schema, cohort.space)


def bare_loop(cohort: sk.Cohort, recipe: sk.Diffusion, *, device: str, bf16: bool, channels_last: bool) -> Callable[[float], float]:
    """A plain PyTorch loop without averaging, checkpoints or progress; answers images/s for so many seconds."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = network(recipe, cohort).to(device, memory_format=layout)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=channels_last)
    images = cohort.images.tensor().to(device, memory_format=layout)
    codes = torch.from_numpy(cohort.schema.encode(cohort.table)).to(device)
    draws = torch.Generator(device).manual_seed(0)

    def run(seconds: float) -> float:
        start, steps, loss = time.perf_counter(), 0, torch.zeros(())
        while steps < 2 or time.perf_counter() - start < seconds:
            rows = torch.randint(len(images), (recipe.batch_size,), generator=draws, device=device)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
                loss = net.training_step(Batch(images[rows], codes[rows], draws))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            steps += 1
        loss.item()
        return steps * recipe.batch_size / (time.perf_counter() - start)

    run(0.0)
    return run


def trainer(cohort: sk.Cohort, recipe: sk.Diffusion, *, device: str) -> Callable[[float], float]:
    """The kit's own trainer with all it does, timed from the first step to the last."""
    data = TrainingData(cohort, cohort.schema.encode(cohort.table), batch_size=recipe.batch_size, seed=0)

    def run(seconds: float) -> float:
        plan = Plan(sk.Minutes(seconds / 60), batch_size=recipe.batch_size, device=device, title="trainer")
        outcome = train(network(recipe, cohort), data, plan)
        return outcome.images_seen / outcome.seconds

    return run


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--size", type=int, default=64)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--device", default="auto")
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    device = accelerator(args.device)
    cohort = sk.ChestPhantom(size=args.size).cohort(256, seed=0)
    runs = {"synthkit trainer": trainer(cohort, sk.Diffusion(batch_size=args.batch), device=device)}
    has_bf16 = precision(device) == "bf16-mixed"
    for name, (backbone, settings, bf16, channels_last) in CONTENDERS.items():
        recipe = sk.Diffusion(backbone=backbone, options=settings, batch_size=args.batch)
        runs[name] = bare_loop(cohort, recipe, device=device, bf16=bf16 and has_bf16, channels_last=channels_last)
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            speeds[name].append(run(args.seconds))
    report(speeds, args, device, cohort)


def report(speeds: dict[str, list[float]], args: argparse.Namespace, device: str, cohort: sk.Cohort) -> None:
    middle = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"\n{args.size} x {args.size}, batch {args.batch}, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, values in speeds.items():
        print(f"{name:<56} {middle[name]:8.1f} images/s   (min {min(values):.1f}, max {max(values):.1f})")
    ratios = {
        "trainer / MONAI at full resolution in float32": middle["synthkit trainer"] / middle["MONAI DiffusionModelUNet, full resolution, float32"],
        "trainer / bare loop": middle["synthkit trainer"] / middle["synthkit network, bare loop"],
        "our network / diffusers' behind unshuffle": middle["synthkit network, bare loop"] / middle["diffusers UNet2DModel behind pixel-unshuffle x2, bf16"],
        "our network / MONAI's behind unshuffle": middle["synthkit network, bare loop"] / middle["MONAI behind pixel-unshuffle x2, bf16"],
    }
    for name, ratio in ratios.items():
        print(f"{name:<56} {ratio:8.2f}")
    if args.record:
        name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
        place = Path(__file__).parent / "results" / f"training-{args.size}-{device}.json"
        place.write_text(json.dumps({"date": str(date.today()), "device": name, "threads": torch.get_num_threads(), "torch": torch.__version__,
                                     "batch": args.batch, "images_per_second": speeds, "ratios": ratios}, indent=1) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
