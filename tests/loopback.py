"""Flower's own server and nodes as processes over loopback: what a slow test and a benchmark start, watch and kill."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import synthkit as sk

ROOT, PROGRAMS = Path(__file__).parents[1], Path(sys.executable).parent


@contextmanager
def hospitals(folder: Path, sites: Mapping[str, sk.Cohort], recipe: object, **how: object) -> Iterator[dict[str, subprocess.Popen]]:
    """A run that was begun: the nodes by site; the generator will lie in folder/out/generator."""
    link, fleet, control, *inner = free_ports(3 + len(sites))
    env = {**os.environ, "FLWR_HOME": str(folder / "home"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1",
           "PYTHONPATH": str(ROOT), "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    (folder / "home").mkdir()
    (folder / "home" / "config.toml").write_text(f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{control}"\ninsecure = true\n')
    sk.flower_app(recipe, folder / "app", sites=len(sites), out=folder / "out", **how)
    addresses = {"--serverappio-api-address": link, "--fleet-api-address": fleet, "--control-api-address": control}
    told = [word for name, port in addresses.items() for word in (name, f"127.0.0.1:{port}")]
    running, nodes = [started(env, "flower-superlink", "--insecure", "--disable-runtime-dependency-installation", *told)], {}
    try:
        for (name, cohort), port in zip(sites.items(), inner):
            cohort.save(folder / name)
            nodes[name] = started(env, "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{fleet}", "--clientappio-api-address", f"127.0.0.1:{port}",
                                  "--node-config", f'site="{name}" cohort="{folder / name}"')  # fmt: skip
            running.append(nodes[name])
        command = [str(PROGRAMS / "flwr"), "run", str(folder / "app"), "here"]
        wait_for(lambda: subprocess.run(command, env=env, capture_output=True).returncode == 0, 120)
        yield nodes
    finally:
        for process in running:
            killed(process)


def started(env: Mapping[str, str], program: str, *words: str) -> subprocess.Popen:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([str(PROGRAMS / program), *words], env=env, start_new_session=True, **quiet)


def killed(process: subprocess.Popen) -> None:
    """End a process and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def rows_of(folder: Path) -> list[dict[str, object]]:
    """The record of the rounds so far."""
    try:
        return json.loads((folder / "out" / "run" / "rounds.json").read_text())["rows"]
    except (OSError, ValueError):
        return []


def wait_for(done: Callable[[], bool], seconds: float) -> None:
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.5)


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
