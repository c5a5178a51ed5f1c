"""The place that a folder or an address names."""
from pathlib import Path

from synthkit.core.kinds import require_kind
from synthkit.data.remote import is_remote
from synthkit.scale.generation.local import Local
from synthkit.scale.generation.place import Place


def place_at(out: str | Path) -> Place:
    """A folder of this machine, or one behind an address ("s3://bucket/folder", "memory://films").

    Raises:
        MissingExtraError: an address whose driver is not installed.
    """
    require_kind("out", out, (str, Path), 'a folder, or an address such as "s3://bucket/folder"')
    if is_remote(out):
        from synthkit.scale.generation.remote import Remote

        return Remote(str(out))
    return Local(Path(out).expanduser())
