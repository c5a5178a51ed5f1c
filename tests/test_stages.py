"""Trainings of several parts, and parts that play against each other."""
import pytest
import torch
from test_training import data_of, plan_of, same_weights
from toys import Line, PowerCut

from synthkit.errors import FitError
from synthkit.generators.stages import Stage, run_stages
from synthkit.nets.network import Batch, Trainable
from synthkit.training.loop import Loop
from synthkit.training.state import State


def halves(first: Line, second: Line) -> tuple[Stage, ...]:
    return (Stage("first", first, share=0.25), Stage("second", second, share=0.75, prepare=lambda data: data.mapped(lambda x, c: x + 5, torch.device("cpu"))))


def test_each_stage_gets_its_share_of_the_budget_and_the_second_learns_from_what_the_first_made():
    first, second = Line(grain=0), Line(grain=0)
    outcome = run_stages(halves(first, second), data_of(), plan_of(40))
    assert (len(first.walk) - 1, len(second.walk) - 1) == (10, 30), "one step of each is the look at the memory"
    assert (outcome.steps, outcome.images_seen) == (40, 160) and outcome.seconds > 0
    assert [step for step, _ in outcome.losses] == [10, 30, 40], "the loss of the first stage is told as well"
    assert float(second.weight) > 2.0 > float(first.weight), "the images are 5 brighter in the second stage"


def test_a_training_that_broke_off_in_its_second_stage_does_not_repeat_the_first(tmp_path):
    run_stages(halves(straight := Line(), end := Line()), data_of(), plan_of(8))
    plan = plan_of(8, run=tmp_path, checkpoint_seconds=0.0)
    with pytest.raises(PowerCut):
        run_stages(halves(Line(), Line(fail_at=5)), data_of(), plan)
    again, last = Line(), Line()
    outcome = run_stages(halves(again, last), data_of(), plan)
    assert not again.walk and len(last.walk) - 1 < 6 and outcome.steps == 8
    assert same_weights(again.state_dict(), straight.state_dict()) and same_weights(last.state_dict(), end.state_dict())


def test_mapped_data_keep_rows_codes_and_order():
    data = data_of(10)
    mapped = data.mapped(lambda x, c: torch.cat([x, c[:, :1, None, None].expand(-1, -1, 16, 16)], 1)[..., ::2, ::2], torch.device("cpu"))
    (x, c), (y, d) = data.take(data.rows(3), torch.device("cpu")), mapped.take(mapped.rows(3), torch.device("cpu"))
    assert torch.equal(c, d) and torch.equal(y[:, :1], x[..., ::2, ::2]) and torch.equal(y[:, 1, 0, 0], c[:, 0]) and mapped.dims == 2


class Quarrel(Trainable):
    """Two weights, one with a gradient a thousand times the other's."""

    def __init__(self, *, apart: bool):
        super().__init__()
        self.loud, self.soft, self.apart = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False), apart

    def players(self) -> tuple[torch.nn.Module, ...]:
        return (self.loud, self.soft) if self.apart else (self,)

    def training_step(self, batch: Batch) -> torch.Tensor:
        return 1000 * self.loud.weight.sum() + self.soft.weight.sum()


@pytest.mark.parametrize(("apart", "soft"), [(True, 1.0), (False, 0.001)])
def test_gradients_of_players_are_clipped_each_by_itself(apart, soft):
    network, data = Quarrel(apart=apart), data_of()
    x, c = data.take(data.rows(0), torch.device("cpu"))
    network.training_step(Batch(x, c, torch.Generator())).backward()
    loop = Loop(network, data, plan_of(1), State({}, 0))
    loop.on_before_optimizer_step(loop.configure_optimizers())
    assert [float(part.weight.grad) for part in (network.loud, network.soft)] == pytest.approx([1.0, soft], rel=1e-3)


def test_latents_that_do_not_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr("synthkit.training.data.psutil.virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    with pytest.raises(FitError, match="GB are free; take fewer images"):
        data_of().mapped(lambda x, c: x, torch.device("cpu"))


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_of_no_whole_number_of_images_is_refused(size):
    with pytest.raises(FitError, match="whole number, 1 or more"):
        data_of(batch_size=size)
