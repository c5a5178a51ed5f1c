"""Training: budgets, moving average, resume, devices, progress. The only place that uses a Lightning Trainer."""
from synthkit.training.plan import Plan, Outcome
from synthkit.training.trainer import train

__all__ = ["Outcome", "Plan", "train"]
