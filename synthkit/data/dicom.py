"""DICOM files as pictures: a CT, MR or PET series is one volume; every other frame is an image of its own.

A multi-frame CT, MR or PET file is a volume too (in stored order and without a slice distance where it states no
positions). Volumes are turned to the axes of the viewer where the files say how they lie. Frames of a cine
(ultrasound, angiography) are separate images of the same patient.
"""
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from synthkit.core.files import file_digest
from synthkit.core.space import Channel
from synthkit.data.dicom_decode import Frames, decode, group
from synthkit.data.dicom_header import Header, facts, join_keys, numbers, patient, personal_words
from synthkit.data.dicom_pixels import Window, channel_name, stored
from synthkit.data.dicom_volume import STACKED, affine, geometry, stacks
from synthkit.data.orientation import oblique_degrees, turn
from synthkit.data.picture import Job, Picture, Unreadable, colour, require_content


def dicom_jobs(headers: Sequence[Header], *, window: Window | None = None) -> list[Job]:
    """One job for each volume and each single file."""
    groups, copies = stacks(headers)
    jobs = [Job((header.file,), _refuse_copy) for header in copies]
    for stack in groups:
        read = partial(_read_series, stack, window) if len(stack) > 1 else partial(_read_file, stack[0], window)
        jobs.append(Job(tuple(header.file for header in stack), read))
    return jobs


def _refuse_copy() -> list[Picture]:
    raise Unreadable("it is a copy of another slice: the same SOP Instance UID")


def _picture(header: Header, pixels: np.ndarray, channels: tuple, spacing: tuple[float, ...] | None, part: str = "") -> Picture:
    known = [step > 0 for step in spacing or (0,)]
    return Picture(
        pixels, channels, (header.file,),
        identity=(header.text("SOPInstanceUID") or file_digest(header.path)) + part,
        spacing_mm=spacing if all(known) else None,
        keys=join_keys(header), facts=facts(header), patient=patient(header), names=personal_words(header),
        synthetic=header.text("SyntheticData").upper() == "YES",
    )  # fmt: skip


def _volume(header: Header, frames: Frames, spacing: tuple[float, ...], orientation: tuple[float, ...], window: Window | None) -> Picture:
    """Slices in the order of their positions as a volume on the axes of the viewer, or on its own where no orientation is given."""
    from nibabel.orientations import apply_orientation

    values, oblique = frames.values, None
    if orientation:
        directions = affine(orientation)
        to_viewer = turn(directions)
        values, oblique = apply_orientation(values, to_viewer), oblique_degrees(directions)
        spacing = tuple(spacing[i] for i in np.argsort(to_viewer[:, 0]))
    pixels, channels = stored(values, frames, window=window)
    return replace(_picture(header, pixels, channels, spacing), oblique_degrees=oblique)


def _read_series(stack: list[Header], window: Window | None) -> list[Picture]:
    """Slices of one stack as a volume (D, H, W)."""
    plan = geometry([h.numbers("ImagePositionPatient") for h in stack], stack[0].numbers("ImageOrientationPatient"))
    ordered = [stack[i] for i in plan.order]
    slices = []
    for number, header in enumerate(ordered):
        try:
            slices.append(decode(header.path))
        except Unreadable as error:
            raise Unreadable(f"slice {number + 1} of the {len(ordered)} of its series cannot be read: {error}") from error
    if len({frames.values.shape for frames in slices}) > 1 or slices[0].values.ndim != 3 or len(slices[0].values) != 1:
        raise Unreadable("slices of its series differ in size or hold colours")
    values = np.concatenate([frames.values for frames in slices])
    spacing = (plan.distance_mm or 0, *_plane_spacing(ordered[0].numbers("PixelSpacing")))
    volume = _volume(ordered[0], replace(slices[0], values=values), spacing, ordered[0].numbers("ImageOrientationPatient"), window)
    keys = {key: value for key, value in volume.keys.items() if key != "SOPInstanceUID"}
    # Which slice comes first depends on none of the others' names, so a volume keeps its id when a folder is renamed.
    return [replace(volume, files=tuple(h.file for h in ordered), identity=f"volume {volume.identity}", keys=keys)]


def _read_file(header: Header, window: Window | None) -> list[Picture]:
    frames = decode(header.path)
    if len(frames.values) > 1 and header.modality in STACKED and frames.values.ndim == 3:
        return [_multi_frame_volume(header, frames, window)]
    pictures, reasons = [], []
    for number in range(len(frames.values)):
        try:
            pixels, channels = _frame(frames, number, window)
            pictures.append(_picture(header, pixels, channels, _spacing(frames), f" frame {number}" if len(frames.values) > 1 else ""))
        except Unreadable as error:  # a black frame in a cine costs that frame alone
            reasons.append(error)
    if not pictures:
        raise reasons[0]
    return pictures


def _frame(frames: Frames, number: int, window: Window | None) -> tuple[np.ndarray, tuple[Channel, ...]]:
    values = frames.values[number]
    if values.ndim == 2:
        return stored(values, frames, window=window, frame=number)
    require_content(values)
    pixels, channels = colour(values)
    return pixels, channels if len(channels) == 3 else (Channel(channel_name(frames.dataset)),)


def _multi_frame_volume(header: Header, frames: Frames, window: Window | None) -> Picture:
    dataset, numbered = frames.dataset, range(len(frames.values))
    planes = [group(dataset, i, "PlanePositionSequence") for i in numbered]
    turned = [group(dataset, i, "PlaneOrientationSequence") for i in numbered]
    distance, orientation = 0.0, ()
    if None not in (*planes, *turned):
        directions = [numbers(plane, "ImageOrientationPatient") for plane in turned]
        plan = geometry([numbers(plane, "ImagePositionPatient") for plane in planes], directions[0])
        frames, distance = replace(frames, values=frames.values[list(plan.order)]), plan.distance_mm or 0.0
        orientation = directions[0] if np.ptp(directions, axis=0).max() < 0.01 else ()
    return _volume(header, frames, (distance, *_spacing(frames, (0, 0))), orientation, window)


def _spacing(frames: Frames, unknown: tuple[float, float] | None = None) -> tuple[float, ...] | None:
    """Millimetres per pixel of the plane in the patient: not those at a detector, unless its magnification is stated."""
    measures = group(frames.dataset, 0, "PixelMeasuresSequence") or frames.dataset
    steps = numbers(measures, "PixelSpacing")
    at_detector, factor = numbers(frames.dataset, "ImagerPixelSpacing"), numbers(frames.dataset, "EstimatedRadiographicMagnificationFactor")
    if at_detector and (not steps or (steps == at_detector and not frames.dataset.get("PixelSpacingCalibrationType"))):
        # PS3.3 10.7.1.3: equal and uncalibrated means that PixelSpacing, too, is measured at the detector.
        steps = tuple(step / factor[0] for step in at_detector) if factor and factor[0] > 0 else ()
    return steps if len(steps) == 2 and min(steps) > 0 else unknown


def _plane_spacing(steps: tuple[float, ...]) -> tuple[float, float]:
    return (steps[0], steps[1]) if len(steps) == 2 else (0.0, 0.0)
