"""Ed25519 signatures (RFC 8032) by a key that lies on this machine, and whose public half others may trust."""
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.core.config import config_folder, write_secret
from synthkit.core.files import write_atomically
from synthkit.core.provenance import digest
from synthkit.errors import StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

OWN, PUBLIC, TRUSTED = "signing.key", "signing.pub", "trusted"


@dataclass(frozen=True)
class Signature:
    """Who signed, and the signature.

    Args:
        key: the public key, 32 bytes in hex.
        value: 64 bytes in hex.
    """

    key: str
    value: str

    def holds(self, data: bytes) -> bool:
        """Whether the owner of the key signed these bytes."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key)).verify(bytes.fromhex(self.value), data)
        except (InvalidSignature, ValueError):
            return False
        return True


def fingerprint(key: str) -> str:
    """The first 16 digits of a public key's sha256, to be read out and compared."""
    return digest(bytes.fromhex(key))[:16]


def make_key() -> tuple[Path, bool]:
    """This user's key and its public half, made once; whether it is new.

    Raises:
        StoreError: the folder cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = config_folder() / OWN
    try:
        data = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        new = write_secret(path, data)
        write_atomically(path.with_name(PUBLIC), _pem(_own(path, path.stat().st_mtime_ns).public_key()))
    except OSError as error:
        raise StoreError(f"{path} cannot be made ({error.strerror}); set SYNTHKIT_CONFIG to a folder of your own") from error
    return path.with_name(PUBLIC), new


def sign(data: bytes) -> Signature | None:
    """A signature by this user's key; None where there is none."""
    path = config_folder() / OWN
    if not path.is_file():
        return None
    key = _own(path, path.stat().st_mtime_ns)
    return Signature(key.public_key().public_bytes_raw().hex(), key.sign(data).hex())


def read_public(path: Path) -> str:
    """The public key in a PEM file, in hex; StoreError where there is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is no public key ({error}); give the signing.pub that `synthkit keys` has written") from None
    if not isinstance(key, Ed25519PublicKey):
        raise StoreError(f"{path} holds a key of another kind; give an Ed25519 public key, as `synthkit keys` writes it")
    return key.public_bytes_raw().hex()


def trust(path: Path) -> str:
    """Keep another's public key, so that what they sign passes here; answers its fingerprint. StoreError where it cannot be kept."""
    key, folder = read_public(path), config_folder() / TRUSTED
    try:
        write_atomically(folder / f"{fingerprint(key)}.pub", path.read_bytes())
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror}); make room, or set SYNTHKIT_CONFIG to a folder of your own") from error
    return fingerprint(key)


def trusted() -> dict[str, str]:
    """The public keys that are believed here, by where they lie."""
    folder = config_folder()
    files = [path for path in (folder / PUBLIC, *sorted((folder / TRUSTED).glob("*.pub"))) if path.is_file()]
    return {read_public(path): str(path) for path in files}


@lru_cache(maxsize=4)
def _own(path: Path, changed: int) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"the signing key {path} cannot be read ({error}); restore it, or move it away and run `synthkit keys`") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise StoreError(f"the signing key {path} is of another kind; move it away and run `synthkit keys`")
    return key


def _pem(key: "Ed25519PublicKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
