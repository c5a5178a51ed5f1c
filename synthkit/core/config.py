"""Where this user's own files lie: keys that must stay out of every cohort and repository."""
import os
import secrets
from pathlib import Path


def config_folder() -> Path:
    """`~/.config/synthkit`, or the folder that SYNTHKIT_CONFIG names."""
    folder = os.environ.get("SYNTHKIT_CONFIG")
    return Path(folder) if folder else Path.home() / ".config" / "synthkit"


def write_secret(path: Path, data: bytes) -> bool:
    """Write a whole file that only its owner may read, unless there is one: of several processes the first wins, and none sees half a file.

    Returns:
        Whether it was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
