"""Keyed pseudonyms: the same person gets the same code on this machine, and nobody without the key can undo it.

The key is made once per user, outside every cohort, in `~/.config/synthkit/pseudonym.key` (or in the folder that
SYNTHKIT_CONFIG names). Losing it changes no cohort, but the same person then gets another code in the next one.
"""
import hashlib
import hmac
import secrets
from functools import lru_cache
from pathlib import Path

from synthkit.core.config import config_folder, write_secret
from synthkit.errors import StoreError

KEY_BYTES = 32
# Consonants only: a code can spell neither a name nor a record number by chance.
LETTERS = str.maketrans("0123456789abcdef", "bcdfghjkmnpqrstv")


def key_path() -> Path:
    """Where this user's key lies."""
    return config_folder() / "pseudonym.key"


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
            write_secret(path, secrets.token_hex(KEY_BYTES).encode())
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    except OSError as error:
        raise StoreError(f"the pseudonym key {path} cannot be read or made ({error.strerror}); set SYNTHKIT_CONFIG to a folder of your own") from error
    if len(key) != KEY_BYTES:
        raise StoreError(f"the pseudonym key {path} is damaged; restore it, or delete it to start new codes (patients then get other codes than before)")
    return key
