"""The progress bar of a run: steps or minutes done, images/s, loss, time left."""
import time

from tqdm.auto import tqdm

from synthkit.core.budget import Steps
from synthkit.training.plan import Plan


class Progress:
    """A bar over steps, or over minutes where the budget is in minutes; tqdm's own clock shows the time left."""

    def __init__(self, plan: Plan, start: int):
        self.by_steps, self.batch_size, self.loss = isinstance(plan.budget, Steps), plan.batch_size, ""
        unit = "step" if self.by_steps else "min"
        layout = "{desc}: {percentage:3.0f}%|{bar}| {n:.4g}/{total:.4g} " + unit + " [{elapsed}<{remaining}{postfix}]"
        self.bar = tqdm(total=plan.budget.count, initial=start if self.by_steps else 0, desc=plan.title, bar_format=layout, mininterval=1.0)
        self.began, self.steps = time.monotonic(), 0

    def step(self, *, minutes: float) -> None:
        """One more step, after so many minutes of the whole run."""
        self.steps += 1
        speed = self.steps * self.batch_size / max(1e-9, time.monotonic() - self.began)
        self.bar.set_postfix_str(f"{speed:.0f} images/s{self.loss}", refresh=False)
        self.bar.update(1 if self.by_steps else max(0.0, min(minutes, self.bar.total) - self.bar.n))

    def note(self, loss: float) -> None:
        """The latest mean loss."""
        self.loss = f", loss {loss:.4f}"

    def close(self) -> None:
        self.bar.close()
