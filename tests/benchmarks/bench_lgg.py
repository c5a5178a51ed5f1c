"""Real FLAIR volumes with lesion masks: volumes drawn from the masks of unseen patients, and whole ones drawn by grade. Few patients: look at the sheets.

    python tests/benchmarks/bench_lgg.py [--minutes 15] [--folder bench-lgg] [--record]

The lesion's contrast (mean inside the mask less mean in a shell around it, in image units) says whether a lesion was drawn where the mask asks for
it, beside that of the real volume and of a volume drawn for another patient's mask. A copy would show in the correlation with the nearest
training volume, beside that of unseen real volumes.
"""
import argparse
import json
import os
import platform
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

import synthkit as sk
from synthkit.core.intervals import bootstrap

SHELL = 5  # voxels, of the window that widens a lesion


def with_masks(flair: sk.Cohort) -> sk.Cohort:
    """The volumes with their lesion masks as a second channel."""
    with np.load(Path(os.environ["SYNTHKIT_DATA"]) / "brain_lgg3d" / "volumes.npz") as arrays:
        masks = np.unpackbits(arrays["masks_packed"], axis=1).reshape(-1, *flair.space.size)
    rows = flair.table["image_id"].astype(int).to_numpy()
    space = sk.Space(flair.space.size, (sk.Channel("FLAIR"), sk.Channel("lesion", kind="mask", high=1)), flair.space.spacing_mm)
    raw = np.stack([flair.space.to_raw(flair.images.tensor())[:, 0], masks[rows].astype(np.uint8)], 1).astype(np.uint8)
    return sk.Cohort.of(raw, flair.table, schema=flair.schema, space=space, provenance=flair.provenance, notes=flair.notes)


def contrast(volumes: torch.Tensor, masks: torch.Tensor) -> np.ndarray:
    """(N,) mean inside the masks less mean in the shell around them."""
    shell = (F.max_pool3d(masks[:, None].float(), SHELL, stride=1, padding=SHELL // 2)[:, 0] > 0) & ~masks
    return np.array([float(volume[inside].mean() - volume[around].mean()) for volume, inside, around in zip(volumes, masks, shell)])


def nearest(volumes: torch.Tensor, library: torch.Tensor) -> np.ndarray:
    """(N,) largest correlation of each volume with one of the library."""
    a, b = (one.flatten(1) - one.flatten(1).mean(1, keepdim=True) for one in (volumes, library))
    return (F.normalize(a) @ F.normalize(b).T).amax(1).numpy()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--minutes", type=float, default=15)
    options.add_argument("--folder", type=Path, default=Path("bench-lgg"))
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    heads = with_masks(sk.load("lgg-flair-3d"))
    train, test = heads.split((0.75, 0.25), by="patient_id", seed=0)
    generator = sk.Diffusion(batch_size=8).fit(train, budget=sk.Minutes(args.minutes), seed=0, run=args.folder / "run")
    generator = generator.using(steps=8, solver="adams", shift=2)
    test = test[np.flatnonzero((test.images.tensor()[:, 1] > 0).flatten(1).sum(1) >= 8)]
    drawn = generator.complete(test, missing=["FLAIR"], seed=0)
    masks, units = test.images.tensor()[:, 1] > 0, test.table["patient_id"].to_numpy()
    found = {"real": contrast(test.images.tensor()[:, 0], masks), "drawn from the mask": contrast(drawn.images.tensor()[:, 0], masks),
             "drawn from another patient's mask": contrast(drawn.images.tensor()[:, 0].roll(1, 0), masks)}  # fmt: skip
    library = train.images.tensor()[:, 0]
    found |= {"real: correlation with the nearest of training": nearest(test.images.tensor()[:, 0], library),
              "drawn: correlation with the nearest of training": nearest(drawn.images.tensor()[:, 0], library)}  # fmt: skip
    rows = []
    for name, each in found.items():
        low, high = bootstrap(lambda chosen, each=each: float(each[chosen].mean()), units)
        rows.append({"what": name, "value": float(each.mean()), "low": low, "high": high, "n": len(each)})
    both = float(np.corrcoef(found["real"], found["drawn from the mask"])[0, 1])
    rows.append({"what": "correlation of real and drawn contrast", "value": both, "n": len(units)})
    print(pd.DataFrame(rows).round(3).to_string())
    asked = pd.DataFrame({"grade": ["G2", "G2", "G3", "G3"], "lesion_share": [0.01, 0.03, 0.01, 0.03], "image_id": list("abcd")})
    sampled = generator.sample(asked, seed=0)
    share = (sampled.images.tensor()[:, 1] > 0).float().flatten(1).mean(1)
    print("lesion share asked and drawn:", asked["lesion_share"].tolist(), [round(float(v), 4) for v in share])
    for name, cohort in (("real", test), ("drawn", drawn), ("sampled", sampled)):
        cohort.figure().write_html(args.folder / f"{name}.html")
    if args.record:
        about = {"date": f"{date.today()}", "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
                 "patients": {"train": len(train), "test": len(test)},
                 "training": {name: generator.card.training[name] for name in ("budget", "images seen", "precision")},
                 "rows": rows, "lesion share": {"asked": asked["lesion_share"].tolist(), "drawn": share.tolist()}}  # fmt: skip
        (Path(__file__).parent / "results" / "volumes-lgg.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
