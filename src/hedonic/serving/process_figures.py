"""What the served process uses, read when somebody asks: CPU, memory, files, network."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number as Prometheus writes it."""

    name: str
    kind: str
    told: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """Return the sample with its labels."""
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in self.labels)
        return f"{self.name}{{{labels}}} {self.value!r}" if labels else f"{self.name} {self.value!r}"


def process_figures() -> Iterator[Figure]:
    """Yield CPU seconds, resident bytes, open files and, by interface, bytes of the network.

    Linux keeps network counters by network namespace: in a container they are the container's, on a bare
    machine the machine's.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    yield Figure("hedonic_process_cpu_seconds_total", "counter", "CPU time of the process", cpu_s)
    pages = int((_PROC / "statm").read_text().split()[1])
    yield Figure(
        "hedonic_process_resident_memory_bytes", "gauge", "Memory of the process",
        float(pages * os.sysconf("SC_PAGE_SIZE")),
    )  # fmt: skip
    n_files = float(sum(1 for _ in (_PROC / "fd").iterdir()))
    yield Figure("hedonic_process_open_files", "gauge", "Open files and connections", n_files)
    network = list(_network())
    for place, name in ((1, "received"), (2, "sent")):
        for counts in network:
            yield Figure(
                f"hedonic_network_{name}_bytes_total", "counter",
                f"Bytes {name} in the process's network namespace",
                float(counts[place]), (("interface", str(counts[0])),),
            )  # fmt: skip


def exposition(figures: Iterator[Figure]) -> str:
    """Return the figures as Prometheus reads them; those of one name must follow each other."""
    lines: list[str] = []
    last = ""
    for figure in figures:
        if figure.name != last:
            lines += [f"# HELP {figure.name} {figure.told}", f"# TYPE {figure.name} {figure.kind}"]
            last = figure.name
        lines.append(figure.text())
    return "".join(line + "\n" for line in lines)


def _network() -> Iterator[tuple[str, int, int]]:
    for line in (_PROC / "net" / "dev").read_text().splitlines()[2:]:
        interface, _, counts = line.partition(":")
        numbers = counts.split()
        yield interface.strip(), int(numbers[0]), int(numbers[8])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
