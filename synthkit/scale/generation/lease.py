"""Being the only one who writes behind an address: an object that names its writer and is renewed for as long as it lives.

Stores know no locks that end with their owner. A writer on this machine that was killed is known by its number; any other is given up when nothing was
heard of it for a while. Two writers of one generation would write the same objects; those of different ones are kept apart by the journal.
"""
import json
import os
import platform
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from synthkit.core.store import LOCK
from synthkit.errors import StoreError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

RENEWED, GIVEN_UP = 20.0, 120.0  # seconds


@contextmanager
def lease(driver: "AbstractFileSystem", path: str, name: str) -> Iterator[None]:
    """Hold the lease of a folder; StoreError while another process has it."""
    place, token, over = f"{path}/{LOCK}", secrets.token_hex(8), Event()
    held = _read(driver, place)
    if held and _lives(held):
        raise _taken(name, held)
    if held:
        driver.rm_file(place)
    try:
        # Of two who come at once the store lets one create it, and where it does not, the last one has it.
        driver.pipe_file(place, _told(token), mode="create")
    except FileExistsError:
        raise _taken(name, _read(driver, place) or {}) from None
    if (found := _read(driver, place) or {}).get("token") != token:
        raise _taken(name, found)
    clock = Thread(target=_renew, args=(driver, place, token, over), daemon=True)
    clock.start()
    try:
        yield
    finally:
        over.set()
        clock.join()
        if (_read(driver, place) or {}).get("token") == token:
            driver.rm_file(place)


def _renew(driver: "AbstractFileSystem", place: str, token: str, over: Event) -> None:
    while not over.wait(RENEWED):
        try:
            driver.pipe_file(place, _told(token))
        except OSError:
            continue  # out of reach for now; what is written meanwhile fails and says so


def _told(token: str) -> bytes:
    return json.dumps({"token": token, "host": platform.node(), "process": os.getpid(), "at": time.time()}).encode()


def _read(driver: "AbstractFileSystem", place: str) -> dict[str, Any] | None:
    driver.invalidate_cache()
    try:
        return json.loads(driver.cat_file(place))
    except FileNotFoundError:
        return None
    except ValueError:  # torn; since when is all that is known
        return {"at": driver.modified(place).timestamp()}


def _lives(held: dict[str, Any]) -> bool:
    if held.get("host") == platform.node():
        return _runs(int(held.get("process", 0)), float(held.get("at", 0)))
    return time.time() - float(held.get("at", 0)) < GIVEN_UP


def _runs(process: int, at: float) -> bool:
    """Whether the process that had this number at that time still runs; numbers are given again."""
    import psutil

    try:
        return psutil.Process(process).create_time() <= at
    except psutil.NoSuchProcess:
        return False


def _taken(name: str, held: dict[str, Any]) -> StoreError:
    ago = time.time() - float(held.get("at", time.time()))
    return StoreError(f"{name} is being written by process {held.get('process', '?')} on {held.get('host', '?')}, last heard of {ago:.0f} s ago; wait for it "
                      f"(a writer that was killed elsewhere is given up after {GIVEN_UP:.0f} s), or give another folder")  # fmt: skip
