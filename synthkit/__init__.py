"""synthkit: synthetic medical imaging. A cohort goes in, a cohort comes out, and every image can say where it came from.

Names resolve on first use, so that importing the package stays fast.
"""
from importlib import import_module
from os import environ
from typing import Any

from synthkit.core.notice import listen

_HOMES = {
    "synthkit.errors": ("SynthkitError", "SchemaError", "DataError", "LeakageError", "StoreError", "AbilityError", "FitError", "MissingExtraError"),
    "synthkit.core.schema": ("Category", "Quantity", "Schema"),
    "synthkit.core.space": ("Channel", "Space"),
    "synthkit.core.cohort": ("Cohort",),
    "synthkit.core.missing": ("hide_channels",),
    "synthkit.core.provenance": ("Provenance",),
    "synthkit.core.budget": ("Steps", "Minutes"),
    "synthkit.core.result": ("Measured", "Scores", "Section"),
    "synthkit.causal.graph": ("CausalGraph",),
    "synthkit.causal.scm": ("SCM",),
    "synthkit.phantoms.brain": ("BrainPhantom",),
    "synthkit.phantoms.chest": ("ChestPhantom",),
    "synthkit.phantoms.nodule": ("NodulePhantom",),
    "synthkit.data.catalog": ("catalog",),
    "synthkit.data.fhir": ("load_fhir",),
    "synthkit.data.fhir_codes": ("fhir_codes",),
    "synthkit.data.fuse": ("fuse",),
    "synthkit.data.load": ("load",),
    "synthkit.data.practice": ("write_practice_dicoms",),
    "synthkit.data.skipped": ("find_skipped",),
    "synthkit.training.private": ("DP",),
    "synthkit.tasks.classifier": ("Classifier",),
    "synthkit.tasks.predictor": ("Predictor",),
    "synthkit.tasks.segmenter": ("Segmenter",),
    "synthkit.metrics.neighbours": ("Precision", "Recall", "Density", "Coverage"),
    "synthkit.metrics.checks.check": ("check",),
    "synthkit.metrics.checks.rule": ("ImageRule",),
    "synthkit.metrics.evaluate": ("evaluate",),
    "synthkit.metrics.frechet": ("FrechetDistance", "FrechetInfinity"),
    "synthkit.metrics.kernel": ("KID", "MMD"),
    "synthkit.metrics.radiomic_distance": ("FrechetRadiomicsDistance",),
    "synthkit.metrics.sensitivity": ("sensitivity",),
    "synthkit.metrics.similarity": ("MSSSIM",),
    "synthkit.metrics.size_curve": ("size_curve",),
    "synthkit.metrics.spectrum": ("HistogramDistance", "SpectrumDistance"),
    "synthkit.metrics.two_sample": ("C2ST",),
    "synthkit.metrics.phantom_judge": ("phantom_judge",),
    "synthkit.metrics.utility": ("utility",),
    "synthkit.metrics.vendi": ("Vendi",),
    "synthkit.generators.joint": ("Joint",),
    "synthkit.generators.generator": ("Generator",),
    "synthkit.generators.diffusion": ("Diffusion",),
    "synthkit.generators.gan": ("GAN",),
    "synthkit.generators.latent": ("LatentDiffusion",),
    "synthkit.generators.foundation.to_diffusers": ("to_diffusers",),
    "synthkit.generators.pretrained": ("Pretrained",),
    "synthkit.generators.student": ("Student",),
    "synthkit.generators.vae": ("VAE",),
    "synthkit.explanation.attribution": ("Explanation", "explain"),
    "synthkit.explanation.audit": ("ExplanationAudit", "explanation_audit"),
    "synthkit.explanation.counterfactual": ("Counterfactual", "counterfactual"),
    "synthkit.explanation.dose": ("dose_response",),
    "synthkit.explanation.edit_attribution": ("EditAttribution",),
    "synthkit.explanation.flip": ("flip",),
    "synthkit.explanation.gate": ("Gate",),
    "synthkit.explanation.local": ("local_edit",),
    "synthkit.explanation.nodule": ("draw_nodule",),
    "synthkit.explanation.scorecard": ("Scorecard", "scorecard"),
    "synthkit.explanation.shapley": ("Agreement", "agreement"),
    "synthkit.explanation.shortcut": ("Shortcut", "shortcut"),
    "synthkit.explanation.soundness": ("Soundness", "soundness"),
    "synthkit.evidence.difference": ("Difference", "diff"),
    "synthkit.evidence.replay": ("Replay", "replay"),
    "synthkit.evidence.trace": ("Trace", "trace"),
    "synthkit.evidence.verify": ("Verification", "verify"),
    "synthkit.export.croissant": ("to_croissant",),
    "synthkit.export.dicom": ("to_dicom",),
    "synthkit.export.pictures": ("to_nifti", "to_png"),
    "synthkit.export.fhir": ("to_fhir",),
    "synthkit.scale.federated.exchange": ("Exchange", "exchange"),
    "synthkit.scale.federated.federate": ("federate",),
    "synthkit.scale.federated.project": ("flower_app",),
    "synthkit.scale.federated.record": ("Federation", "federation"),
    "synthkit.studies.audit.audit": ("audit",),
    "synthkit.studies.audit.result": ("Audit",),
    "synthkit.studies.completion": ("Completion", "completion"),
    "synthkit.studies.compare": ("Comparison", "compare"),
    "synthkit.studies.hybrid.hybrid": ("hybrid",),
    "synthkit.studies.hybrid.result": ("Hybrid",),
    "synthkit.studies.privacy.privacy": ("privacy",),
    "synthkit.studies.privacy.result": ("Privacy",),
    "synthkit.studies.reader.agreement": ("krippendorff_alpha",),
    "synthkit.studies.reader.power": ("equivalence_power", "reads_needed"),
    "synthkit.studies.reader.result": ("Readings",),
    "synthkit.studies.reader.study": ("ReaderStudy",),
    "synthkit.studies.rebalance": ("rebalance",),
    "synthkit.studies.stress": ("Stress", "stress"),
    "synthkit.lifecycle.drift": ("Drift", "drift"),
    "synthkit.lifecycle.promote": ("Promotion", "promote"),
    "synthkit.scale.generation.generate": ("generate",),
    "synthkit.scale.generation.result": ("Generation",),
    "synthkit.lifecycle.recording": ("log",),
    "synthkit.lifecycle.registry": ("champion",),
    "synthkit.lifecycle.tracking": ("track",),
    "synthkit.lifecycle.watch": ("Watch", "watch"),
    "synthkit.report.dossier.dossier": ("Dossier",),
    "synthkit.report.dossier.plan": ("DossierPlan",),
    "synthkit.report.dossier.rule": ("PassRule",),
    "synthkit.report.cards.data": ("data_card",),
    "synthkit.report.cards.markdown": ("MarkdownCard",),
    "synthkit.report.cards.model": ("model_card",),
    "synthkit.report.gallery": ("Gallery",),
    "synthkit.report.report": ("Report",),
    "synthkit.widgets.reader": ("read",),
    "synthkit.widgets.viewer": ("view",),
    "synthkit.widgets.whatif": ("whatif",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'synthkit' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _recorded(what: str, thing: Any, facts: dict[str, Any]) -> None:
    """Fits, evaluations and saved cohorts become MLflow runs where a tracking address is set."""
    if environ.get("MLFLOW_TRACKING_URI"):
        import_module("synthkit.lifecycle.recording").record(what, thing, facts)


listen(_recorded)
