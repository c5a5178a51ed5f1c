"""Model and data cards: filled from what is known, "not stated" where nothing is, whole or absent on disk."""
import os

import pandas as pd
import pytest
import yaml
from toys import SCHEMA, exact_generator, toy_cohort, toy_table

import synthkit as sk
from synthkit.core.lineage import manifest_root
from synthkit.errors import DataError


def head(card: sk.MarkdownCard) -> dict:
    """What machines read, from the text as it is written."""
    start, written, _ = card.text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(written)


def trained() -> tuple[sk.Generator, sk.Cohort]:
    train = toy_cohort(32)
    recipe = sk.Diffusion(options={"widths": (16, 16), "embedding": 32}, steps=2, batch_size=16)
    return recipe.fit(train, budget="2 steps", seed=4), train


def measured() -> sk.Measured:
    rows = pd.DataFrame([{"measure": "A | <b>", "value": 0.123456, "low": 0.1, "high": float("nan"), "n": 120}])
    return sk.Measured("Some result", rows, ("Of one site.",))


def test_a_model_card_tells_what_the_generator_knows_of_itself():
    gen, train = trained()
    card = sk.model_card(gen, intended="Teaching", evaluation=measured())
    told = head(card)
    assert (told["pretty_name"], told["license"], told["weights_sha256"]) == ("diffusion on toy", "CC0", gen.weights_digest())
    assert told["learnt_from"] == [{"source": "toy", "kind": "real", "licence": "CC0", "sha256": gen.card.trained_on["digest"], "images": 32, "patients": 32,
                                    "merkle_root": manifest_root(train)}]  # fmt: skip
    assert list(card.parts) == ["What it is", "Factors", "Intended use", "Out of scope", "What it learnt from", "Training", "Evaluation", "Limits"]
    assert card.parts["Intended use"] == "Teaching" and card.parts["Out of scope"] == "not stated"
    assert "| steps | 2 |" in card.parts["Training"] and "trained without differential privacy" in card.parts["Training"] and gen.card.command in card.text
    assert "| edits images | yes |" in card.text and "Not a medical device." in card.parts["Limits"] and "| spacing | not stated |" in card.text
    assert "| A \\| &lt;b> | 0.1235 | 0.1 |  | 120 |" in card.parts["Evaluation"] and "- Of one site." in card.parts["Evaluation"]
    assert sk.model_card(gen).parts["Evaluation"] == "not stated"


def test_a_model_card_names_all_it_learnt_from_and_its_bound():
    shipped = sk.Generator.pretrained("chest-phantom-64-student")
    told = head(sk.model_card(shipped, out_of_scope=["Diagnosis", "Triage"]))
    assert [one["images"] for one in told["learnt_from"]] == [8192, 32768] and told["learnt_from"][0]["merkle_root"] == "not stated"
    card = sk.model_card(shipped, out_of_scope=["Diagnosis", "Triage"])
    assert card.parts["Out of scope"] == "- Diagnosis\n- Triage" and "| started from | diffusion on chest phantom, 507337e1" in card.text
    assert len(shipped.card.measured) > 5 and str(shipped.card.measured[0]["what"]) in card.parts["Evaluation"] and "| edits images | no |" in card.text


def test_a_data_card_counts_and_shows_no_row():
    fake = exact_generator(toy_cohort(24)).sample(toy_table(40), seed=3)
    card = sk.data_card(fake, limitations=["Of one scanner."], evaluation=[sk.check(fake), measured()])
    told = head(card)
    assert told == {"pretty_name": "exact toy", "card": "data", "license": "CC0", "tags": ["medical-imaging", "synthetic"], "has_synthetic_data": True,
                    "images": 40, "patients": 40, "version": fake.version}  # fmt: skip
    counts = fake.counts()
    for row in counts.itertuples():
        assert f"| {row.factor} | {str(row.level).replace('<', '&lt;')} | {row.images} | {row.patients} |" in card.parts["Counts by factor"]
    assert "Sensitive columns: sex, age." in card.parts["Sensitive columns"] and "seed 3" in card.parts["How it was made"]
    assert {"Of one scanner.", *fake.caveats()} <= {line[2:] for line in card.parts["Limits"].splitlines()}
    assert "40 rows by image_id are not shown." in card.parts["Evaluation"] and "Some result" in card.parts["Evaluation"]
    assert not any(name in card.text for name in fake.table["image_id"])


def test_a_real_cohort_says_so_and_counts_what_was_skipped():
    real = toy_cohort(6)
    skipped = pd.DataFrame({"file": ["anna.dcm", "bert.dcm"], "reason": ["no pixels", "no pixels"]})
    card = sk.data_card(sk.Cohort(real.images, real.table, SCHEMA, real.provenance, skipped=skipped))
    assert head(card)["has_synthetic_data"] is False and "real images: toy" in card.parts["How it was made"]
    assert "| no pixels | 2 |" in card.parts["Left out"] and "anna" not in card.text
    assert sk.data_card(real).parts["Left out"] == "No file was skipped."


def test_cards_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    card = sk.data_card(toy_cohort(6))
    path = card.save(tmp_path / "cards" / "DATA_CARD.md")
    assert path.read_text() == card.text and card._repr_markdown_().startswith("\n# toy")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match="No space left on device.*make room"):
        sk.data_card(toy_cohort(8)).save(path)
    assert path.read_text() == card.text and [*path.parent.iterdir()] == [path]
    with pytest.raises(DataError, match="is a folder; give a file, such as"):
        card.save(tmp_path)


def test_what_is_no_generator_cohort_or_result_is_refused():
    with pytest.raises(DataError, match="generator: got"):
        sk.model_card(toy_cohort(6))
    with pytest.raises(DataError, match="cohort: got the class Cohort"):
        sk.data_card(sk.Cohort)
    with pytest.raises(DataError, match="evaluation: got 'good'"):
        sk.data_card(toy_cohort(6), evaluation=["good"])
