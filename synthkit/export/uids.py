"""DICOM UIDs that follow from an image's id alone, so that files, bundles and later exports name the same study."""
from uuid import NAMESPACE_URL, uuid5


def uid(kind: str, *names: object) -> str:
    """`2.25.` and the number of a UUID (PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE_URL, ':'.join(('synthkit', kind, *map(str, names)))).int}"


def study_uid(image_id: str) -> str:
    """Of the study of one image."""
    return uid("ImagingStudy", image_id)


def series_uid(image_id: str, channel: str) -> str:
    """Of the series of one channel of an image."""
    return uid("series", image_id, channel)


def instance_uid(record: str, channel: str, number: int) -> str:
    """Of one file; `record` is the digest of the image's record, so that other pixels never share a UID."""
    return uid("instance", record, channel, number)
