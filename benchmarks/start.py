"""What a start costs: whole processes, from nothing to `import core`, to a hub, to a dashboard that answers."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.measure import Scale, announce, progress
from benchmarks.report import Report, Table, duration, ratio
from core.settings import environment_for_child
from tests.running import bongsu_up

_SECOND_NS: Final = 1e9
_PROCESSES: Final = {
    "python -c pass": "pass",
    "import core": "import core",
    "import core.hub": "import core.hub",
    "core.connect(), existing directory": "import core; core.connect().close()",
}
_FLOOR: Final = "python -c pass"
_FRESH: Final = "core.connect(), fresh directory"
_UP: Final = "bongsu up until ready, existing directory"
_UP_FRESH: Final = "bongsu up until ready, fresh directory"


def measure(scale: Scale) -> Report:
    """The one table of the subject."""
    with tempfile.TemporaryDirectory() as folder:
        walls, cpus = _runs(Path(folder), scale)
    floor, cpu_floor = median(walls[_FLOOR]), median(cpus[_FLOOR])
    rows = tuple(
        (
            name,
            ratio(median(times) / floor),
            ratio(median(cpus[name]) / cpu_floor),
            duration(median(times) * _SECOND_NS),
            f"{duration(min(times) * _SECOND_NS)} – {duration(max(times) * _SECOND_NS)}",
            duration(median(cpus[name]) * _SECOND_NS),
            str(len(times)),
        )
        for name, times in walls.items()
    )
    return Report(
        subject="start",
        title="What a start costs",
        question="How long until a notebook has a hub, and until a person has a dashboard?",
        tables=(
            Table(
                "Whole processes, their end included (`bongsu up`: until it says that it is ready):",
                ("what", f"× {_FLOOR}", "× its CPU", "median", "fastest – slowest", "CPU", "runs"),
                rows,
            ),
        ),
        how=(
            "One process of each kind in turn, again and again, the first of each not counted; then `bongsu up`. On "
            "a machine that is busy with other things, fewer runs than usual fit into the time. CPU is user and "
            "system time of the process and its children; for `bongsu up` it includes what they did until they "
            "were stopped."
        ),
        notes=(
            (
                "Bytecode is compiled and files are in the page cache, as at every start but the first after an "
                "installation."
            ),
            "A fresh directory is one without a database: the schema and the keys are made.",
            (
                "`bongsu up` asks every 0.3 s whether the web process answers, so its figures are that coarse. It runs "
                "without demo traffic."
            ),
        ),
    )


def _runs(folder: Path, scale: Scale) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
    """Seconds by the clock and of CPU, a figure a run."""
    names = [*_PROCESSES, _FRESH, _UP, _UP_FRESH]
    walls: dict[str, list[float]] = {name: [] for name in names}
    cpus: dict[str, list[float]] = {name: [] for name in names}

    def note(name: str, run: Callable[[], float]) -> None:
        before = _children_cpu()
        walls[name].append(run())
        cpus[name].append(_children_cpu() - before)

    announce("start")
    begin = perf_counter()
    for number in range(scale.processes + 1):
        if number > 1 and perf_counter() > begin + scale.within_s:
            break
        progress(f"start: processes, round {number} of {scale.processes}")
        for name, code in _PROCESSES.items():
            note(name, partial(_process, code, folder / "existing"))
        note(_FRESH, partial(_process, _PROCESSES[_CONNECT], folder / f"fresh-{number}"))
    for name in (*_PROCESSES, _FRESH):
        del walls[name][0], cpus[name][0]
    for number in range(scale.processes):
        if number and perf_counter() > begin + _LATEST * scale.within_s:
            break
        progress(f"start: bongsu up, round {number} of {scale.processes}")
        note(_UP, partial(_up, folder / "existing"))
        if number < _FRESH_STARTS:
            note(_UP_FRESH, partial(_up, folder / f"fresh-up-{number}"))
    progress("")
    return walls, cpus


_FRESH_STARTS: Final = 3
_LATEST: Final = 2.5
_CONNECT: Final = "core.connect(), existing directory"


def _process(code: str, data: Path) -> float:
    begin = perf_counter()
    subprocess.run([sys.executable, "-c", code], env=_environ(data), check=True)  # noqa: S603 -- our own code.
    return perf_counter() - begin


def _up(data: Path) -> float:
    begin = perf_counter()
    with redirect_stdout(io.StringIO()), bongsu_up({"BONGSU_DATA_DIR": str(data)}, "--no-demo"):
        return perf_counter() - begin


def _environ(data: Path) -> dict[str, str]:
    return environment_for_child(BONGSU_DATA_DIR=str(data))


def _children_cpu() -> float:
    """Seconds of CPU of every process that this one started and that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
