"""Files that are whole or absent, and named by their content so that damage is noticed."""
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from synthkit.errors import StoreError


def write_atomically(path: Path, data: bytes) -> None:
    """Write bytes under a temporary name, flush them to disk, rename: the file is whole or absent."""
    with atomically(path) as file:
        file.write(data)


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to be written piece by piece, which appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write a JSON manifest that carries the sha256 of its own content."""
    write_atomically(path, sealed(manifest))


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest as it was written; StoreError where a byte of it changed."""
    return unsealed(path.read_bytes(), str(path))


def sealed(manifest: dict[str, Any]) -> bytes:
    """A JSON manifest with the sha256 of its own content, as it is written."""
    content = json.loads(_text(manifest))
    return _text({**content, "seal": _seal(content)})


def unsealed(written: bytes, name: str) -> dict[str, Any]:
    """The manifest in some bytes, called `name`; StoreError where one of them changed."""
    try:
        manifest = json.loads(written.decode())
        same = _text(manifest) == written  # also blanks, and names that stand twice
        seal = manifest.pop("seal", None)
    except (ValueError, AttributeError) as error:
        raise StoreError(f"{name} is damaged ({error}); restore it or make it again") from None
    if not same or seal != _seal(manifest):
        raise StoreError(f"{name} was changed or damaged after it was saved; restore it or make it again")
    return manifest


def _text(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, indent=1, ensure_ascii=False).encode()


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(folder: Path, kind: str, suffix: str, data: bytes) -> dict[str, str]:
    """Store bytes under `kind-<digest><suffix>`; the answer (file, sha256) goes into a manifest."""
    name = hashlib.sha256(data).hexdigest()
    path = folder / f"{kind}-{name[:16]}{suffix}"
    if not (path.exists() and file_digest(path) == name):
        write_atomically(path, data)
    return {"file": path.name, "sha256": name}


def checked(folder: Path, entry: dict[str, str]) -> Path:
    """The path of a stored file whose digest still is the recorded one; StoreError otherwise."""
    path = folder / entry["file"]
    if not path.is_file():
        raise StoreError(f"{folder}: {entry['file']} is missing; what was saved is incomplete, restore it or make it again")
    if file_digest(path) != entry["sha256"]:
        raise StoreError(f"{path} was changed or damaged after it was saved (its sha256 differs); restore it or make it again")
    return path


def sweep(folder: Path, kinds: Iterable[str], keep: Iterable[str]) -> None:
    """Remove stored files of these kinds that no manifest names any more, and what interrupted saves left."""
    starts, named = tuple(f"{kind}-" for kind in kinds), set(keep)
    for path in folder.iterdir():
        if path.name not in named and (path.name.startswith(starts) or path.name.endswith(".part")):
            try:
                path.unlink()
            except OSError:  # still mapped by another process (Windows); the next save removes it
                continue
