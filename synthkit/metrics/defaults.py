"""The metrics that are taken when none are named."""
from synthkit.core.space import Space
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import ImageMetric, Metric
from synthkit.metrics.neighbours import Coverage, Density, Precision, Recall
from synthkit.metrics.radiomic_distance import FrechetRadiomicsDistance
from synthkit.metrics.similarity import MSSSIM
from synthkit.metrics.spectrum import HistogramDistance, SpectrumDistance
from synthkit.metrics.two_sample import C2ST
from synthkit.metrics.vendi import Vendi

OF_FEATURES: tuple[Metric, ...] = (KID(), FrechetDistance(), C2ST(), Precision(), Recall(), Density(), Coverage(), Vendi())
OF_IMAGES: tuple[ImageMetric, ...] = (SpectrumDistance(), HistogramDistance(), FrechetRadiomicsDistance(), MSSSIM())


def default_metrics(space: Space) -> tuple[Metric, ...]:
    """All that fit images of this size."""
    return (*OF_FEATURES, *(metric for metric in OF_IMAGES if min(space.size) >= metric.smallest))
