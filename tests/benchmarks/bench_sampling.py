"""Quality against evaluations of the network, in one run: our solvers, students, and a diffusers model trained for equal time.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_sampling.py --folder sampling [--minutes 10] [--images 1000] [--most 48] [--record]
        [--parts ours native student-2 student-1 draw score] [--teacher chest-phantom-64]

Each part leaves its result in the folder and is not done twice. Both models learn from the same films, with the same trainer,
batch size, learning rate, hiding of factors and wall-clock time; give them a quiet machine. A student has that time once more, on
top of its teacher's. `--teacher` takes a shipped generator for ours; the diffusers model is then left out, since it had less time.

Stated beforehand: a row keeps up with DDIM-50 where its KID is not higher by more than the half-width of the 95 % interval of
real against real at the same n.
"""
import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import torch

import synthkit as sk
from synthkit.core.curves import curves
from synthkit.core.figures import plane, png, sheet
from synthkit.core.provenance import Provenance
from synthkit.core.randomness import normal
from synthkit.core.result import Tabled
from synthkit.generators.solvers import SOLVERS
from synthkit.generators.student import Student
from synthkit.nets.blocks import shuffle, unshuffle
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch, Trainable
from synthkit.training.data import TrainingData
from synthkit.training.plan import Plan
from synthkit.training.trainer import train

CHEST, FILMS, BATCH, SEED = sk.ChestPhantom(size=64), 8192, 32, 41_000
WAYS = (("midpoint", 1.0), ("midpoint", 2.0), ("heun", 2.0), ("euler", 2.0), ("adams", 2.0), ("dpm++", 2.0))
EVALUATIONS = (2, 4, 6, 8, 12, 24, 48)
SCHEDULES = (("DDIM", 50), ("DPM-Solver++", 8), ("DPM-Solver++", 20), ("UniPC", 8))
Decode = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Row:
    """One way to sample: model, solver, and how often it runs the network per image."""

    model: str
    solver: str
    evaluations: int
    decode: Decode

    @property
    def name(self) -> str:
        return f"{self.model} {self.solver} {self.evaluations}".replace("+", "p").replace(" ", "_")


class Native(Trainable):
    """diffusers' UNet2DModel behind pixel-unshuffle: velocity prediction on a cosine schedule, trailing steps; 3.06 million weights beside our 2.95.

    Noise prediction on the default linear schedule, with leading steps, gave no films at all in 8 minutes of training.
    """

    def __init__(self, width: int, hiding: Hiding):
        super().__init__()
        from diffusers import DDPMScheduler, UNet2DModel

        widths = (32, 64, 88, 112)
        self.net = UNet2DModel(
            in_channels=4, out_channels=4, block_out_channels=widths, layers_per_block=1, norm_num_groups=8, class_embed_type="identity",
            down_block_types=("DownBlock2D",) * 3 + ("AttnDownBlock2D",), up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * 3,
        )  # fmt: skip
        self.condition = torch.nn.Sequential(torch.nn.Linear(width, 128), torch.nn.SiLU(), torch.nn.Linear(128, 4 * widths[0]))
        cosine = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
        self.scheduler, self.hiding = DDPMScheduler(num_train_timesteps=1000, **cosine), hiding

    def training_step(self, batch: Batch) -> torch.Tensor:
        t, noise = (batch.uniform(len(batch.x)) * 1000).long(), batch.normal_like()
        wanted = self.scheduler.get_velocity(batch.x, noise, t)
        return (self(self.scheduler.add_noise(batch.x, noise, t), t, self.hiding(batch)).float() - wanted).square().mean()

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return shuffle(self.net(unshuffle(x, 2), t, class_labels=self.condition(c)).sample, 2)

    def decode_by(self, schedule: str, steps: int) -> Decode:
        from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

        kinds = {"DDIM": DDIMScheduler, "DPM-Solver++": DPMSolverMultistepScheduler, "UniPC": UniPCMultistepScheduler}

        def decode(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            scheduler, x = kinds[schedule].from_config(self.scheduler.config), z
            scheduler.set_timesteps(steps)
            for t in scheduler.timesteps:
                x = scheduler.step(self(x, t.expand(len(x)), c), t, x).prev_sample
            return x

        return decode


def native_of(films: sk.Cohort) -> Native:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Native(films.schema.width, Hiding(tuple(films.schema.blocks()), sk.Diffusion().drop))


def fit_native(args: argparse.Namespace, films: sk.Cohort) -> None:
    from safetensors.torch import save_file

    net, recipe = native_of(films), sk.Diffusion()
    data = TrainingData(films, films.schema.encode(films.table), batch_size=recipe.batch_size, seed=0)
    train(net, data, Plan(sk.Minutes(args.minutes), batch_size=recipe.batch_size, learning_rate=recipe.learning_rate, title="diffusers"))
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, args.folder / "native.safetensors")


def teacher_of(args: argparse.Namespace) -> sk.Generator:
    return (sk.Generator.pretrained(args.teacher) if args.teacher else sk.Generator.load(args.folder / "ours")).to("cpu")


def fit(args: argparse.Namespace, part: str) -> None:
    """Train what is asked for, unless the folder holds it."""
    if (args.folder / part).exists() or (args.folder / f"{part}.safetensors").exists():
        return
    films = CHEST.cohort(FILMS, seed=0)
    if part == "native":
        fit_native(args, films)
    elif part == "ours":
        sk.Diffusion().fit(films, budget=sk.Minutes(args.minutes), seed=0, run=args.folder / "ours-run").save(args.folder / part)
    else:
        student = Student(evaluations=int(part[-1])).fit(films, start=teacher_of(args), budget=sk.Minutes(args.minutes), seed=0)
        student.save(args.folder / part, half=True)


def rows(args: argparse.Namespace) -> Iterator[Row]:
    """Every way to sample that the folder allows."""
    teacher = teacher_of(args)
    for solver, shift in WAYS:
        for count in (count for count in EVALUATIONS if count <= args.most):
            using = teacher.using(steps=count // SOLVERS[solver].each, solver=solver, shift=shift)
            yield Row("synthkit", f"{solver} shift {shift:g}", count, using.trained.decode)
    for count in (1, 2):
        if (args.folder / f"student-{count}").is_dir():
            yield Row("synthkit", "student", count, sk.Generator.load(args.folder / f"student-{count}").to("cpu").trained.decode)
    if not args.teacher and (args.folder / "native.safetensors").is_file():
        from safetensors.torch import load_file

        net = native_of(CHEST.cohort(4, seed=0)).to(memory_format=torch.channels_last)
        net.load_state_dict(load_file(args.folder / "native.safetensors"))
        yield from (Row("diffusers", schedule, steps, net.eval().decode_by(schedule, steps)) for schedule, steps in SCHEDULES)


def draw(args: argparse.Namespace) -> None:
    """Sample all rows for the factors of the real films, from the same noise; keep the images, a sheet of 32, and the time."""
    wanted = CHEST.cohort(args.images, seed=SEED).table
    code = torch.from_numpy(CHEST.schema.encode(wanted))
    z = normal((1, 64, 64), seed=0, identities=range(args.images), stream="bench").contiguous(memory_format=torch.channels_last)
    for row in rows(args):
        if (args.folder / f"{row.name}.json").is_file() or (args.only and not any(row.name.startswith(start) for start in args.only)):
            continue
        with torch.inference_mode():
            row.decode(z[:BATCH], code[:BATCH])
            start = time.process_time()
            images = torch.cat([row.decode(z[a : a + BATCH], code[a : a + BATCH]) for a in range(0, args.images, BATCH)])
        seconds = (time.process_time() - start) / args.images
        made = CHEST.space.sixteen_bit()
        fake = wanted.assign(image_id=[f"synthetic-{row.name}-{i}" for i in range(args.images)], patient_id=[f"synthetic-{i}" for i in range(args.images)])
        origin = Provenance("synthetic", row.name, seed=0)
        cohort = sk.Cohort.of(made.to_raw(images), fake, schema=CHEST.schema, space=made, provenance=origin)
        (args.folder / f"{row.name}.png").write_bytes(png(sheet([plane(x) for x in cohort.images.tensor(range(32))], columns=8), scale=2))
        about = {"model": row.model, "solver": row.solver, "evaluations": row.evaluations, "seconds_per_image": seconds}
        cohort.save(args.folder / row.name)
        (args.folder / f"{row.name}.json").write_text(json.dumps(about))
        print(row.name, f"{seconds:.4f} s/image", flush=True)


@dataclass(frozen=True, eq=False, repr=False)
class Sampling(Tabled):
    """KID against evaluations of the network."""

    def figure(self):  # noqa: ANN201
        kid = self.rows[self.rows["metric"] == "KID"].assign(way=lambda t: t["model"] + ", " + t["solver"]).sort_values("evaluations")
        panels = {f"n = {int(kid['n_fake'].min())} a side": kid.rename(columns={"way": "sampler"})}
        names = ["evaluations of the network per image"]
        return curves(panels, x="evaluations", y="value", line="sampler", title=self.title, y_name="KID", mark=float(kid["floor"].iloc[0]),
                      wide=False, log_x=True, x_names=names)  # fmt: skip


def score(args: argparse.Namespace) -> Sampling:
    """Every drawn row against fresh films, and whether it keeps up with DDIM-50."""
    real, learn = CHEST.cohort(args.images, seed=SEED), CHEST.cohort(2 * args.images, seed=SEED + 1)
    metrics, found = [sk.KID(), sk.FrechetDistance(), sk.SpectrumDistance()], []
    for path in sorted(args.folder.glob("*.json")):
        frame = sk.evaluate(real=real, fake=sk.load(args.folder / path.stem), train=learn, metrics=metrics).frame()
        found.append(frame.assign(**json.loads(path.read_text())).drop(columns=["group", "better", "extractor"]))
        print(found[-1][["model", "solver", "evaluations", "metric", "value", "low", "high", "floor"]].to_string(index=False, header=False), flush=True)
    table = pd.concat(found, ignore_index=True)
    kid = table[table["metric"] == "KID"]
    margin = float((kid["floor_high"] - kid["floor_low"]).iloc[0]) / 2
    notes = [f"The dotted rule is real against real; its half-width, the margin, is {margin:.4f}."]
    slow = kid[(kid["solver"] == "DDIM") & (kid["evaluations"] == 50)]
    if len(slow):
        table["within_margin_of_ddim_50"] = (table["value"] - float(slow["value"].iloc[0]) <= margin).where(table["metric"] == "KID")
        table["times_as_fast_as_ddim_50"] = float(slow["seconds_per_image"].iloc[0]) / table["seconds_per_image"]
    return Sampling("Quality against evaluations of the network", table, tuple(notes))


def require_same(args: argparse.Namespace) -> None:
    """Refuse a folder whose parts were made in another way."""
    path, ours = args.folder / "settings", f"{args.teacher or 'ours'}, {args.images} images, {args.minutes:g} minutes"
    if path.is_file() and path.read_text() != ours:
        raise SystemExit(f"{args.folder} holds {path.read_text()}; this is {ours}: give another --folder")
    path.write_text(ours)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, default=Path("sampling"))
    options.add_argument("--parts", nargs="+", default=["ours", "native", "student-2", "student-1", "draw", "score"])
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--images", type=int, default=1000)
    options.add_argument("--most", type=int, default=48, help="evaluations of our solvers")
    options.add_argument("--only", nargs="+", default=[], help="draw only rows whose names start so")
    options.add_argument("--teacher", default="", help="a shipped generator in the place of ours")
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    require_same(args)
    for part in args.parts:
        if part not in ("draw", "score") and not (args.teacher and part in ("ours", "native")):
            fit(args, part)
    if "draw" in args.parts:
        draw(args)
    if "score" in args.parts:
        result = score(args)
        sk.Report(result.title, [result]).save(args.folder / "report.html")
        (args.folder / "scores.csv").write_text(result.frame().to_csv(index=False))
        if args.record:
            about = {"date": f"{date.today()}", "device": platform.machine(), "threads": torch.get_num_threads(), "minutes": args.minutes,
                     "teacher": args.teacher or "ours", "notes": result.caveats(), "rows": result.frame().round(6).to_dict("records")}  # fmt: skip
            (Path(__file__).parent / "results" / f"sampling-{args.teacher or 'equal-time'}.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
