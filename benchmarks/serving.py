"""The endpoint beside its peers, interleaved in one run on loopback: ``python -m benchmarks.serving``.

Ours against FastAPI with the same model in a scikit-learn pipeline, FastAPI with our predictor and
validation, ``mlflow models serve``, and a bare ASGI echo as the floor. All serve the champion of
``make run``. Client and server share the machine, so ratios are what to read.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.load import Load, ask_for
from benchmarks.request_profile import LAYERS, SERVER, TOGETHER
from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT
from hedonic.settings import Settings, load_settings

DATASET = "king_county"
CONNECTIONS = (1, 8, 32, 128)
BATCH = 100
START_LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Server:
    """A server under load: where it listens, what it is asked, and how long it took to get ready."""

    name: str
    port: int
    path: str
    one: Any
    pid: int
    ready_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The median over rounds of what a server did at a number of connections."""

    rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us: float


def free_port() -> int:
    """Return a port on loopback that nothing listens on now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    name: str, command: list[str], port: int, path: str, one: Any, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Keep a server running for as long as it is measured."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not answers(port, path, one):
            if process.poll() is not None or time.perf_counter() - began > START_LIMIT_S:
                raise SystemExit(f"{name}: did not get ready: {' '.join(command)}")
            time.sleep(0.02)
        yield Server(name, port, path, one, process.pid, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int, path: str, content: Any) -> bool:
    """Return whether the server answers the question with 200."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def processes(server: Server) -> list[Any]:
    """Return the server's process and all below it."""
    import psutil

    parent = psutil.Process(server.pid)
    return [parent, *parent.children(recursive=True)]


def cpu_s(server: Server) -> float:
    """Return the CPU time that the server's processes have used."""
    return float(sum(p.cpu_times().user + p.cpu_times().system for p in processes(server)))


def memory_mb(server: Server) -> float:
    """Return the resident memory of the server's processes."""
    return float(sum(p.memory_info().rss for p in processes(server)) / 1e6)


def measure(servers: list[Server], n_connections: int, *, rounds: int, seconds: float) -> dict[str, Figures]:
    """Return the figures of each server, asked in turn, round after round."""
    loads: dict[str, list[tuple[Load, float]]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            before = cpu_s(server)
            load = ask_for(server.port, server.path, server.one, n_connections=n_connections, seconds=seconds)
            loads[server.name].append((load, cpu_s(server) - before))
    return {name: _figures(done) for name, done in loads.items()}


def _figures(rounds: list[tuple[Load, float]]) -> Figures:
    def median(values: list[float]) -> float:
        return statistics.median(values)

    return Figures(
        rps=median([load.rps for load, _ in rounds]),
        p50_ms=median([load.percentile_ms(50) for load, _ in rounds]),
        p95_ms=median([load.percentile_ms(95) for load, _ in rounds]),
        p99_ms=median([load.percentile_ms(99) for load, _ in rounds]),
        cpu_us=median([1e6 * cpu / max(1, len(load.latencies_ms)) for load, cpu in rounds]),
    )


def commands(settings: Settings, release: Path, bento: Path) -> dict[str, tuple[list[str], int, str]]:
    """Return the command, port and path of each server."""
    ports = {name: free_port() for name in ("hedonic", "pipeline", "predictor", "mlflow", "echo")}
    uvicorn = [sys.executable, "-m", "uvicorn", "--log-level", "warning", "--no-access-log", "--port"]
    mlflow = ["models", "serve", "-m", f"models:/hedonic-{DATASET}@champion", "--env-manager", "local"]
    bin_folder = Path(sys.executable).parent
    return {
        "hedonic": (
            [str(bin_folder / "bentoml"), "serve", "--port", str(ports["hedonic"]), str(bento)],
            ports["hedonic"],
            "/predict",
        ),
        "FastAPI + pipeline": (
            [*uvicorn, str(ports["pipeline"]), "--factory", "benchmarks.peers:pipeline_app"],
            ports["pipeline"],
            "/predict",
        ),
        "FastAPI + our predictor": (
            [*uvicorn, str(ports["predictor"]), "--factory", "benchmarks.peers:predictor_app"],
            ports["predictor"],
            "/predict",
        ),
        "mlflow models serve": (
            [str(bin_folder / "mlflow"), *mlflow, "--port", str(ports["mlflow"])],
            ports["mlflow"],
            "/invocations",
        ),
        "ASGI echo": ([*uvicorn, str(ports["echo"]), "benchmarks.peers:echo_app"], ports["echo"], "/"),
    }


def question(name: str, rows: list[dict[str, Any]]) -> Any:
    """Return the rows in the form that the server wants."""
    return {"dataframe_records": rows} if name.startswith("mlflow") else {"instances": rows}


def print_profile(used_us: Mapping[int, float], release: Path, environment: Mapping[str, str]) -> None:
    """Print where the CPU of one request goes: measured layers, and what the served process uses beside them.

    Args:
        used_us: CPU of the served process for a request, by connections.
        release: what is served.
        environment: the served process's.
    """
    command = [sys.executable, "-m", "benchmarks.request_profile", str(release)]
    told = subprocess.run(command, env=dict(environment), check=True, capture_output=True, text=True).stdout
    by_number = {int(n): layers for n, layers in json.loads(told).items()}
    shown = (1, TOGETHER)
    print("\n| layer | " + " | ".join(f"CPU us/request at {n} connections" for n in shown) + " |")
    print("|---" * (1 + len(shown)) + "|")
    rest = {n: used_us[n] - sum(by_number[n].values()) for n in shown}
    for layer in (SERVER, *LAYERS):
        values = [rest[n] if layer == SERVER else by_number[n][layer] for n in shown]
        print(f"| {layer} | " + " | ".join(f"{value:,.0f}" for value in values) + " |")
    print("| all | " + " | ".join(f"{used_us[n]:,.0f}" for n in shown) + " |")


def main() -> None:
    """Measure, print the README's table, and with ``--json`` one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    parser.add_argument("--profile", action="store_true", help="where the time of one request goes")
    asked = parser.parse_args()
    from hedonic.model.manifest import read_golden
    from hedonic.promotion.pointer import read_pointer

    settings = load_settings()
    pointer = read_pointer(settings.home, DATASET)
    if pointer is None or pointer.bento is None:
        raise SystemExit(f"there is no champion of {DATASET} yet: make run")
    release = settings.home / pointer.folder
    name, _, version = pointer.bento.partition(":")
    bento = settings.bentos / "bentos" / name / version
    rows = [dict(row) for row in read_golden(release).instances]
    for row in rows:
        row.pop("valuation_date", None)
    environment = {
        **os.environ,
        **settings.environment(),
        **QUIET_ENVIRONMENT,
        **NUMERIC_ENVIRONMENT,
        "HEDONIC_BENCH_RELEASE": str(release),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # mlflow calls uvicorn
    }
    rounds, seconds = (1, 1.0) if asked.quick else (3, 3.0)
    with ExitStack() as stack:
        # Answers are logged as always, but not where those to real callers are.
        folder = stack.enter_context(TemporaryDirectory(prefix="hedonic-bench-"))
        environment["HEDONIC_PREDICTION_LOG_URL"] = str(Path(folder) / "log.db")
        servers = [
            stack.enter_context(serving(name, command, port, path, question(name, rows[:1]), environment))
            for name, (command, port, path) in commands(settings, release, bento).items()
        ]
        ours = servers[0]
        by_connections = {n: measure(servers, n, rounds=rounds, seconds=seconds) for n in CONNECTIONS}
        batch = (rows * (BATCH // len(rows) + 1))[:BATCH]
        full = ask_for(ours.port, "/predict", {"instances": batch}, n_connections=2, seconds=2 * seconds)
        print("| server | connections | requests/s | p50 ms | p95 ms | p99 ms | CPU us/request |")
        print("|---|---|---|---|---|---|---|")
        for n, figures in by_connections.items():
            for name, f in figures.items():
                print(
                    f"| {name} | {n} | {f.rps:,.0f} | {f.p50_ms:.2f} | {f.p95_ms:.2f} | {f.p99_ms:.2f} "
                    f"| {f.cpu_us:,.0f} |"
                )
        rows_per_s = full.rps * BATCH
        print(f"\nrows per second in batches of {BATCH}: {rows_per_s:,.0f}")
        for server in servers:
            print(f"{server.name}: ready in {server.ready_s:.1f} s, {memory_mb(server):,.0f} MB")
        at_8, at_1 = by_connections[8], by_connections[1]
        result = {
            "rps_ratio_fastapi_pipeline": at_8[ours.name].rps / at_8["FastAPI + pipeline"].rps,
            "rps_ratio_mlflow": at_8[ours.name].rps / at_8["mlflow models serve"].rps,
            "rps_ratio_fastapi_same_predictor": at_8[ours.name].rps / at_8["FastAPI + our predictor"].rps,
            "p50_ms_c1": at_1[ours.name].p50_ms,
            "p99_ms_c8": at_8[ours.name].p99_ms,
            "rows_per_s_batch100": rows_per_s,
            "ready_s": ours.ready_s,
        }
    if asked.profile:
        used_us = {n: figures[ours.name].cpu_us for n, figures in by_connections.items()}
        print_profile(used_us, release, environment)
    for figure, value in result.items():
        print(f"{figure}: {value:.3g}")
    if asked.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
