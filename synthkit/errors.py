"""Every error that synthkit raises for a caller's mistake: what was given, what is allowed, what to do."""


class SynthkitError(Exception):
    """Base of all synthkit errors; catch this one to catch them all."""


class SchemaError(SynthkitError, ValueError):
    """A factor, level or value that the schema does not know."""


class DataError(SynthkitError, ValueError):
    """Images or tables that cannot become a cohort, or cohorts that do not fit together."""


class LeakageError(SynthkitError, ValueError):
    """The same patient stands on both sides of a split."""


class StoreError(SynthkitError, OSError):
    """A saved cohort or checkpoint that is incomplete, damaged, or of an unknown format."""


class AbilityError(SynthkitError, TypeError):
    """This kind of object cannot do what was asked (a GAN has no encoder, say)."""


class FitError(SynthkitError, ValueError):
    """Training that cannot start or cannot go on: too little data, too little memory, a loss that is no number."""


class MissingExtraError(SynthkitError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""
