"""The few-step student: what its teacher shows it, that it learns it, and what it refuses."""
import numpy as np
import pytest
import torch
from test_flow import MEAN, SPREAD, Gaussian
from toys import SCHEMA, SMALL_NET, toy_cohort, toy_table

from synthkit.core.budget import Steps
from synthkit.core.provenance import patient_digest
from synthkit.errors import AbilityError, FitError
from synthkit.generators.diffusion import Diffusion
from synthkit.generators.generator import Generator
from synthkit.generators.student import Distillation, Student, StudentNetwork
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch

SMALL = {"options": SMALL_NET, "batch_size": 16}
TEACHER = Diffusion(**SMALL, steps=6, learning_rate=4e-3)


@pytest.fixture(scope="module")
def train():
    return toy_cohort(32, size=(12, 12), per_patient=2)


@pytest.fixture(scope="module")
def teacher(train) -> Generator:
    return TEACHER.fit(train, budget=Steps(70), seed=0)


@pytest.fixture(scope="module", params=[1, 2])
def student(request, train, teacher) -> Generator:
    return Student(evaluations=request.param, **SMALL, learning_rate=2e-3).fit(train, start=teacher, budget=Steps(40), seed=0)


class Affine(torch.nn.Module):
    """A velocity a x + b with its own numbers before and after t = 0.1; it can learn the Gaussian's mean velocities exactly."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        part = (t > 0.1).long()
        return self.a[part].reshape(-1, 1, 1, 1) * x + self.b[part].reshape(-1, 1, 1, 1)


def gaussian_lesson(velocity: torch.nn.Module, *, evaluations: int, teacher_steps: int) -> Distillation:
    """A student of that velocity beside the Gaussian's exact one as teacher."""
    recipe = Student(evaluations=evaluations, teacher_steps=teacher_steps)
    student = StudentNetwork(velocity, shape=(1, 4, 4), cuts=(0.0, 1.0) if evaluations == 1 else (0.0, 1 / 3, 1.0))
    (stage,) = recipe.stages(student, SCHEMA.only([]), toy_cohort(4).space)
    stage.trainable.teacher = Gaussian()
    return stage.trainable


def images_like(count: int, seed: int) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    return Batch(MEAN + SPREAD * torch.randn(count, 1, 4, 4, generator=draws), torch.zeros(count, 0), draws)


@pytest.mark.parametrize("evaluations", [1, 2])
def test_the_student_of_an_exact_teacher_learns_the_exact_map(evaluations):
    """Noise z must come out as MEAN + SPREAD z: in one evaluation, or over the exact x at the cut in two."""
    lesson = gaussian_lesson(Affine(), evaluations=evaluations, teacher_steps=12)
    optimizer = torch.optim.Adam(lesson.student.parameters(), lr=0.05)
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 250)
        optimizer.zero_grad()
        lesson.training_step(images_like(64, step)).backward()
        optimizer.step()
    z = torch.randn(50, 1, 4, 4, generator=torch.Generator().manual_seed(9))
    made = lesson.student.decode(z, torch.zeros(50, 0))
    assert torch.allclose(made, MEAN + SPREAD * z, atol=0.02)
    assert lesson.training_step(images_like(64, 999)) < 1e-3


def test_the_mean_velocity_that_is_taught_is_the_closed_form():
    lesson = gaussian_lesson(Affine(), evaluations=2, teacher_steps=40)
    z, none = torch.randn(20, 1, 4, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(20, 0)
    cut = 1 / 3
    there = cut * MEAN + ((1 - cut) ** 2 + cut**2 * SPREAD**2) ** 0.5 * z
    assert torch.allclose(lesson._taught(z, none, lesson.parts[0]), (there - z) / cut, atol=2e-3)
    assert torch.allclose(lesson._taught(there, none, lesson.parts[1]), (MEAN + SPREAD * z - there) / (1 - cut), atol=2e-3)


@pytest.mark.parametrize("evaluations", [1, 2, 3])
def test_the_parts_follow_each_other_and_begin_where_the_student_is_asked(evaluations):
    space = toy_cohort(4).space
    recipe = Student(evaluations=evaluations, teacher_steps=3, **SMALL)
    network = recipe.network(SCHEMA, space)
    (stage,) = recipe.stages(network, SCHEMA, space)
    parts = stage.trainable.parts
    assert [len(part) for part in parts] == [4] * evaluations and all(a[-1] == b[0] for a, b in zip(parts, parts[1:]))
    assert (*(part[0] for part in parts), parts[-1][-1]) == pytest.approx(network.cuts) and network.evaluations == evaluations


def test_every_part_is_practised_on_its_share_of_the_batch():
    class Spy(torch.nn.Module):
        def forward(self, x, t, c):
            self.seen = t
            return torch.zeros_like(x)

    lesson = gaussian_lesson(spy := Spy(), evaluations=2, teacher_steps=1)
    lesson.training_step(images_like(9, 0))
    assert spy.seen.tolist() == pytest.approx([0.0] * 5 + [1 / 3] * 4)
    lesson.training_step(images_like(1, 0))
    assert spy.seen.tolist() == [0.0], "one image practises one part"


def test_only_the_student_learns_and_the_teacher_stays(teacher):
    space = toy_cohort(4, size=(12, 12)).space
    recipe = Student(**SMALL)
    network = recipe.network(SCHEMA, space)
    network.load_state_dict(teacher.trained.state_dict())
    lesson = Distillation(network, parts=((0.0, 0.5, 1.0),), hiding=Hiding((), 0.0))
    lesson.training_step(Batch(torch.randn(2, 1, 12, 12), torch.zeros(2, SCHEMA.width), torch.Generator().manual_seed(0))).backward()
    assert all(p.grad is not None for p in network.velocity.parameters()) and all(p.grad is None for p in lesson.teacher.parameters())
    with torch.no_grad():
        next(network.velocity.parameters()).add_(1)
    ours, theirs = next(network.velocity.parameters()), next(lesson.teacher.parameters())
    assert not torch.equal(ours, theirs) and torch.equal(theirs, next(teacher.trained.velocity.parameters())), "a copy, not the same weights"


def test_it_comes_closer_to_its_teacher_than_the_teacher_in_as_many_evaluations(student, teacher):
    want = toy_table(24, seed=5)
    goal, made = (gen.sample(want, seed=3).images.tensor() for gen in (teacher.using(steps=24), student))
    few = teacher.using(steps=student.evaluations, solver="euler", shift=2.0)
    rough = few.sample(want, seed=3).images.tensor()
    assert few.evaluations == student.evaluations <= 2
    assert (made - goal).square().mean().sqrt() < 0.7 * (rough - goal).square().mean().sqrt()
    ill = (want["lesion"] == "present").to_numpy()
    brightness = made.flatten(1).mean(1).numpy()
    assert brightness[ill].mean() - brightness[~ill].mean() > 0.4, "the condition still matters"


def test_it_is_saved_and_read_back_and_says_who_taught_it(student, teacher, train, tmp_path):
    back = Generator.load(student.save(tmp_path)).to("cpu")
    first, second = (gen.sample(toy_table(4), seed=0).images.raw() for gen in (student, back))
    assert np.array_equal(first, second) and back.evaluations == student.evaluations
    assert back.card.training["started from"]["weights"] == teacher.weights_digest() and student.weights_digest() != teacher.weights_digest()
    assert {name for name, _ in student.trained.named_parameters()} == {name for name, _ in teacher.trained.named_parameters()}, "no teacher is kept"
    assert back.patients == {patient_digest(name) for name in train.table["patient_id"]}


def test_it_cannot_edit_and_says_so(student, train):
    for call in (lambda: student.edit(train, {"age": 50}), lambda: student.encode(train)):
        with pytest.raises(AbilityError, match="Student cannot .* no encoder"):
            call()


def test_a_student_needs_a_teacher_of_its_own_network(student, teacher, train, tmp_path):
    for fits in (Generator.load(teacher.save(tmp_path)), teacher.using(steps=2, solver="adams")):
        assert Student(**SMALL).fit(train, budget=Steps(1), start=fits).evaluations == 2
    for start, message in ((None, "learns from a fitted Diffusion, and none was given"), (student, "learns from a fitted Diffusion, and Student is none")):
        with pytest.raises(FitError, match=message):
            Student(**SMALL).fit(train, budget=Steps(1), start=start)
    with pytest.raises(FitError, match="widths.*16, 16.*does not fit the network"):
        Student().fit(train, budget=Steps(1), start=teacher)
    with pytest.raises(FitError, match="Diffusion cannot go on from the weights of Student"):
        teacher.recipe.fit(train, budget=Steps(1), start=student)


def test_fit_asks_for_the_teacher_before_any_work(train, monkeypatch):
    monkeypatch.setattr("synthkit.generators.base.cohort_digest", lambda cohort: pytest.fail("work had begun"))
    with pytest.raises(FitError, match="learns from a fitted Diffusion, and none was given"):
        Student(**SMALL).fit(train, budget=Steps(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluations": 0}, "evaluations and teacher_steps must be 1 or more"), ({"teacher_steps": 0}, "1 or more"), ({"shift": 0.0}, "shift above 0"),
        ({"shift": float("nan")}, "shift above 0"), ({"drop": 1.0}, "drop 0 or more"), ({"evaluations": 4, "batch_size": 3}, "an image for each of the 4"),
        ({"evaluations": 1.5}, "whole numbers"), ({"teacher_steps": True}, "whole numbers"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(FitError, match=message):
        Student(**settings)
