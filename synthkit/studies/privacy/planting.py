"""How many copies would have been seen: training images, slightly changed, put among the synthetic ones."""
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from synthkit.core.cohort import Cohort
from synthkit.core.pixels import Pixels
from synthkit.core.randomness import generator, permutation
from synthkit.metrics.copying.guard import compared
from synthkit.metrics.copying.tail import isolation
from synthkit.studies.privacy.nearness import Nearness, chance

SHARES = (0.01, 0.02, 0.05)
POOL, PLANTINGS = 100, 200
GRAIN, BRIGHTER, MOVED = 0.05, 0.1, 0.03  # in image units -1..1, as a share of contrast, of the side


def planted(train: Cohort, *, seed: int, count: int = POOL) -> Cohort:
    """Up to `count` training images, every second one mirrored, moved by up to 3 % of the side, brighter or darker by up to 10 %, with grain added."""
    rows = np.sort(permutation(len(train), seed=seed, identity="rows", stream="planted")[:count])
    images, rng = train.images.tensor(rows), generator(seed, "changes", "planted")
    changed = [_changed(image, mirrored=bool(number % 2), rng=rng) for number, image in enumerate(images)]
    space = train.space.sixteen_bit()
    return replace(train[rows], images=Pixels([space.to_raw(torch.stack(changed).clamp(-1, 1))], space))


def _changed(image: torch.Tensor, *, mirrored: bool, rng: np.random.Generator) -> torch.Tensor:
    image = image.flip(-1) if mirrored else image
    sides = image.shape[1:]
    steps = [round(float(rng.uniform(-MOVED, MOVED)) * side) for side in sides]
    room = [side for step in reversed(steps) for side in (max(step, 0), max(-step, 0))]
    padded = F.pad(image[None], room, mode="replicate")[0]
    for axis, (step, side) in enumerate(zip(steps, sides), start=1):
        padded = padded.narrow(axis, max(-step, 0), side)
    grain = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
    return (padded + 1) * float(rng.uniform(1 - BRIGHTER, 1 + BRIGHTER)) - 1 + GRAIN * grain


def power(seen: Sequence[Nearness], *, train: Cohort, alpha: float, seed: int) -> pd.DataFrame:
    """Share of 200 plantings that the search for near copies convicts, in the place of synthetic images that are no near copies.

    Returns:
        One row per planted share: share, copies, of, found (the share of plantings), `caught` (the share of single copies beyond a limit).
    """
    copies = planted(train, seed=seed)
    marks = np.stack([isolation(one.gallery.nearest(copies, count=compared(train))) > one.tail.limit for one in seen])
    rows, images = [], len(seen[0].isolated)
    rng = generator(seed, "plantings", "planted")
    for share in SHARES:
        count = round(share * images)
        if not count:
            continue
        found = 0
        for _ in range(PLANTINGS):
            drawn = marks[:, rng.integers(0, marks.shape[1], count)].sum(1)
            found += any(chance(int(number), images) < alpha for number in drawn)
        rows.append({"share": share, "copies": count, "of": images, "found": found / PLANTINGS, "caught": float(marks.any(0).mean())})
    return pd.DataFrame(rows)
