"""Every public name resolves, says what it is, and is typed."""
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import synthkit as sk
from synthkit import errors

ROOT = str(Path(__file__).parents[1])
ERRORS = [value for value in vars(errors).values() if inspect.isclass(value)]


@pytest.mark.parametrize("name", sk.__all__)
def test_a_public_name_resolves_and_says_what_it_is(name):
    value = getattr(sk, name)
    first = (inspect.getdoc(value) or "").split("\n")[0]
    # A dataclass without a docstring would answer with its own signature.
    assert len(first) > 10 and not first.startswith(f"{name}(")


@pytest.mark.parametrize("name", sk.__all__)
def test_what_can_be_called_is_typed(name):
    value = getattr(sk, name)
    if not callable(value):
        return
    call = value.__init__ if inspect.isclass(value) else value
    if call in (object.__init__, Exception.__init__) or (inspect.isclass(value) and issubclass(value, Exception)):
        return
    untyped = [p.name for p in inspect.signature(call).parameters.values() if p.annotation is inspect.Parameter.empty and p.name != "self"]
    assert not untyped


@pytest.mark.parametrize("order", ["import synthkit.explanation.counterfactual", "sk.counterfactual", "sk.Report"])
def test_no_part_hides_a_public_name_of_the_same_spelling(order):
    """Importing the package synthkit.explanation must leave the function sk.explain where it is."""
    program = f"import inspect\nimport synthkit as sk\n{order}\nprint([n for n in sk.__all__ if inspect.ismodule(getattr(sk, n))])"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_names_are_sorted_listed_and_unknown_ones_are_refused():
    assert sk.__all__ == sorted(set(sk.__all__)) and dir(sk) == sk.__all__
    with pytest.raises(AttributeError, match="no attribute 'Cohrot'"):
        sk.Cohrot  # noqa: B018


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_can_be_caught_as_one_and_is_public(kind):
    assert issubclass(kind, errors.SynthkitError) and getattr(sk, kind.__name__) is kind


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("SchemaError", ValueError), ("DataError", ValueError), ("LeakageError", ValueError), ("FitError", ValueError),
        ("StoreError", OSError), ("AbilityError", TypeError), ("MissingExtraError", ImportError),
    ],
)  # fmt: skip
def test_errors_are_also_the_builtin_that_fits(kind, builtin):
    with pytest.raises(builtin, match="what was given"):
        raise getattr(sk, kind)("what was given")
