"""The DICOM series of an image: one per channel, colours together. Files and clinical bundles take them, and their UIDs, from here."""
from dataclasses import dataclass

from synthkit.core.cohort import Cohort
from synthkit.core.space import Space
from synthkit.errors import DataError
from synthkit.export.dicom_modules import KINDS, Kind, modality_of
from synthkit.export.uids import instance_uid, series_uid


@dataclass(frozen=True)
class Series:
    """One series of every image of a cohort.

    Args:
        label: the channel's name, or "colour".
        channel: its number; None for colours.
        kind: of its files.
        slices: how many files it has.
    """

    label: str
    channel: int | None
    kind: Kind
    slices: int

    @property
    def number(self) -> int:
        """(0020,0011)."""
        return 1 + (self.channel or 0)

    def uid(self, image_id: str) -> str:
        """Series Instance UID of an image."""
        return series_uid(image_id, self.label)

    def instance(self, record: str, number: int) -> str:
        """SOP Instance UID of one file; `record` is the digest of the image's record."""
        return instance_uid(record, self.label, number)


def series_of(cohort: Cohort, modality: str | None) -> list[Series]:
    """The series that each image becomes; DataError for a modality that cannot hold the channels."""
    space = cohort.space
    kinds = _kinds(space, modality)
    if space.dims == 2 and len(space.channels) == 3 and all(channel.kind == "colour" for channel in space.channels):
        return [Series("colour", None, KINDS["OT"], 1)]
    slices = space.size[0] if space.dims == 3 else 1
    return [Series(channel.name, number, kind, slices) for number, (channel, kind) in enumerate(zip(space.channels, kinds))]


def _kinds(space: Space, modality: str | None) -> list[Kind]:
    if modality is not None and modality not in KINDS:
        raise DataError(f"modality={modality!r}: allowed are {', '.join(KINDS)}")
    kinds = [KINDS[modality or modality_of(channel)] for channel in space.channels]
    for kind, channel in zip(kinds, space.channels):
        if kind.modality in ("CR", "DX") and (space.dims == 3 or channel.kind != "modality"):
            raise DataError(f"modality={kind.modality!r}: a radiograph is a 2D image of one grey channel, and {channel.name} is not; leave modality out")
        if kind.modality == "CT" and channel.unit != "HU":
            raise DataError(f"modality='CT': channel {channel.name} is not in Hounsfield units, which CT files are; use MR or OT")
        if kind.modality in ("CT", "MR", "DX") and space.spacing_mm is None:
            other = "CR" if kind.modality == "DX" else "OT"
            raise DataError(f"{channel.name}: {kind.modality} files state millimetres, and the spacing of these images is not known; give modality={other!r}")
    return kinds
