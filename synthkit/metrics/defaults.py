"""The metrics that are taken when none are named."""
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import Metric
from synthkit.metrics.neighbours import Coverage

DEFAULT: tuple[Metric, ...] = (KID(), FrechetDistance(), Coverage())
