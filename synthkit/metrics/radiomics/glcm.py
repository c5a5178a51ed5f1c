"""Grey level co-occurrence matrix: which levels stand side by side (Haralick et al. 1973)."""
import torch

from synthkit.metrics.radiomics.entropy import bits
from synthkit.metrics.radiomics.neighbours import directions, pair
from synthkit.metrics.radiomics.region import Region
from synthkit.metrics.radiomics.tally import tally


def glcm(region: Region) -> dict[str, torch.Tensor]:
    """24 features of the symmetric matrices of distance 1, (n,) each: the mean over the directions that have any pair.

    Of a direction with one level only, Correlation is 1 and both Imc are 0; of a region with one level, MCC is 1.
    """
    counts = cooccurrences(region)
    pairs = counts.sum((2, 3))
    p = counts / pairs.clamp(min=1)[..., None, None]
    features = {**_of_sums(p), **_of_differences(p, region.top), **_of_information(p)}
    features["MCC"] = features["MCC"].masked_fill((region.top == 1)[:, None], 1)
    known = (pairs > 0).double()
    return {name: (values * known).sum(1) / known.sum(1) for name, values in features.items()}


def cooccurrences(region: Region) -> torch.Tensor:
    """(n, directions, most, most) how often level i stands beside level j, both ways."""
    most = region.most
    one_way = [tally(here, most, (there, most + 1)) for here, there in (pair(region.levels, step) for step in directions(region.levels.ndim - 1))]
    counts = torch.stack(one_way, 1)[..., 1:]
    return counts + counts.mT


def _steps(p: torch.Tensor) -> torch.Tensor:
    i = torch.arange(1, p.shape[-1] + 1)
    return i[:, None] - i


def _gather(p: torch.Tensor, number: torch.Tensor, size: int) -> torch.Tensor:
    """(n, directions, size): p(i, j) summed over all (i, j) of one number."""
    out = p.new_zeros(size, p.shape[0] * p.shape[1])
    return out.index_add_(0, number.flatten(), p.flatten(0, 1).flatten(1).T).T.reshape(*p.shape[:2], size)


def _of_sums(p: torch.Tensor) -> dict[str, torch.Tensor]:
    """What depends on i + j; i and j are distributed alike, so that 4 var = var(i + j) + var(i - j), and 4 cov their difference."""
    most = p.shape[-1]
    i, sums = torch.arange(1, most + 1), torch.arange(2 * most + 1).double()
    p_sum = _gather(p, i[:, None] + i, 2 * most + 1)
    mean = p_sum @ sums
    away = sums - mean[..., None]
    tendency, contrast = (p_sum * away**2).sum(-1), (p * _steps(p) ** 2).sum((2, 3))
    variance, covariance = (tendency + contrast) / 4, (tendency - contrast) / 4
    return {
        "JointAverage": mean / 2, "SumAverage": mean, "Autocorrelation": covariance + (mean / 2) ** 2, "SumSquares": variance, "SumEntropy": bits(p_sum),
        "ClusterTendency": tendency, "ClusterShade": (p_sum * away**3).sum(-1), "ClusterProminence": (p_sum * away**4).sum(-1),
        "Contrast": contrast, "Correlation": torch.where(variance > 0, covariance / variance, 1.0),
    }  # fmt: skip


def _of_differences(p: torch.Tensor, top: torch.Tensor) -> dict[str, torch.Tensor]:
    """What depends on |i - j|; the normalised ones divide it by the number of levels."""
    step = torch.arange(p.shape[-1]).double()
    p_step = _gather(p, _steps(p).abs(), p.shape[-1])
    mean = p_step @ step
    share = step / top[:, None, None]
    return {
        "DifferenceAverage": mean, "DifferenceEntropy": bits(p_step), "DifferenceVariance": (p_step * (step - mean[..., None]) ** 2).sum(-1),
        "Id": p_step @ (1 / (1 + step)), "Idm": p_step @ (1 / (1 + step**2)), "InverseVariance": p_step[..., 1:] @ (1 / step[1:] ** 2),
        "Idn": (p_step / (1 + share)).sum(-1), "Idmn": (p_step / (1 + share**2)).sum(-1),
    }  # fmt: skip


def _of_information(p: torch.Tensor) -> dict[str, torch.Tensor]:
    """What i tells about j. HXY1 and HXY2 are both the entropy of independent i and j, which is twice that of i."""
    px = p.sum(3)
    one, joint = bits(px), bits(p, axes=2)
    shared = (2 * one - joint).clamp(min=0)
    # Q of the maximal correlation coefficient is the square of this symmetric matrix, whose eigenvalues lie in [-1, 1].
    root = px.clamp(min=1e-300).sqrt()
    eigenvalues = torch.linalg.eigvalsh(p / root[..., None] / root[..., None, :]).abs().sort(-1).values
    second = eigenvalues[..., -2] if p.shape[-1] > 1 else torch.ones_like(one)
    return {"JointEnergy": p.square().sum((2, 3)), "JointEntropy": joint, "MaximumProbability": p.amax((2, 3)),
            "Imc1": torch.where(one > 0, -shared / one, 0.0), "Imc2": (1 - torch.exp(-2 * shared)).sqrt(), "MCC": second}  # fmt: skip
