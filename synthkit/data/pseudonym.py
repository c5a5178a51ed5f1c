"""Keyed pseudonyms: the same person gets the same code on this machine, and nobody without the key can undo it.

The key is made once per user, outside every cohort, in `~/.config/synthkit/pseudonym.key` (or in the folder that
SYNTHKIT_CONFIG names). Losing it changes no cohort, but the same person then gets another code in the next one.
"""
import hashlib
import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path

from synthkit.errors import StoreError

KEY_BYTES = 32
# Consonants only: a code can spell neither a name nor a record number by chance.
LETTERS = str.maketrans("0123456789abcdef", "bcdfghjkmnpqrstv")


def key_path() -> Path:
    """Where this user's key lies."""
    folder = os.environ.get("SYNTHKIT_CONFIG")
    return (Path(folder) if folder else Path.home() / ".config" / "synthkit") / "pseudonym.key"


def pseudonym(kind: str, value: object) -> str:
    """A code for a value, such as "patient-kbdv…"; equal values of one kind get equal codes.

    Args:
        kind: what is coded (patient, image, file, site); it also separates the codes of different kinds.
    Raises:
        StoreError: the key cannot be made or read.
    """
    mark = hmac.new(_key(key_path()), f"{kind}\x1f{str(value).strip()}".encode(), hashlib.sha256).hexdigest()
    return f"{kind}-{mark[:16].translate(LETTERS)}"


@lru_cache(maxsize=8)
def _key(path: Path) -> bytes:
    try:
        if not path.exists():
            _make(path)
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    except OSError as error:
        raise StoreError(f"the pseudonym key {path} cannot be read or made ({error.strerror}); set SYNTHKIT_CONFIG to a folder of your own") from error
    if len(key) != KEY_BYTES:
        raise StoreError(f"the pseudonym key {path} is damaged; restore it, or delete it to start new codes (patients then get other codes than before)")
    return key


def _make(path: Path) -> None:
    """Write a whole key under a temporary name, then link it: of several processes the first wins, and none sees half a key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)
