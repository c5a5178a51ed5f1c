"""Principal components of the pixels: the plainest eye there is, and for a few hundred patients not the worst."""
import numpy as np
import torch
from torch.nn import functional as F

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import permutation
from synthkit.metrics.features import Features, described

COUNT = 64
EDGE = {2: 32, 3: 16}  # pixels along each axis that are looked at
MOST = 2_000  # images that the components are learnt from
SHRINKAGE = 0.02  # of the largest variance, added to all, so that faint components are not blown up


def pixel_components(cohort: Cohort) -> Features:
    """The first 64 principal components of the shrunk pixels of a cohort, each of about one spread."""
    edge = EDGE[cohort.space.dims]
    size = tuple(min(n, edge) for n in cohort.space.size)
    pool = F.adaptive_avg_pool2d if len(size) == 2 else F.adaptive_avg_pool3d
    some = cohort[np.sort(permutation(len(cohort), seed=0, identity="some", stream="pixel components")[:MOST])]
    seen = described(some, lambda x: pool(x, size).flatten(1), name="pixels").double()
    mean = seen.mean(0)
    _, lengths, directions = torch.linalg.svd(seen - mean, full_matrices=False)
    variances = lengths[:COUNT].square() / max(1, len(seen) - 1)
    turn = directions[:COUNT].T / (variances + SHRINKAGE * variances[:1]).clamp(min=1e-12).sqrt()
    return Features(f"{turn.shape[1]} principal components of pixels", lambda x: (pool(x, size).flatten(1).double() - mean) @ turn)
