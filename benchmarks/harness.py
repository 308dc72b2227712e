"""What all questions share: fair timing, and the report that a question returns."""

from __future__ import annotations

import gc
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

ONE_THREAD = 1.15  # CPU time / wall time above which a contestant has used more than one thread


@dataclass
class Contestant:
    """Something to time.

    `run(size)` does `size` units of work (samples, steps); `reset()`, not timed, comes before every run.
    """

    name: str
    run: Callable[[int], object]
    largest: int
    reset: Callable[[], object] = lambda: None
    unit: int = 1  # size is a multiple of it: the batch of mini-batches
    size: int = 0  # of every run; 0: `measure` chooses it


# What a question measures of cmlp alone, for `--against`: by name, what makes a contestant, or a function that gives
# one figure (less is better).
Ours = dict[str, Callable[[], "Contestant | Callable[[], float]"]]


@dataclass
class Timing:
    """Seconds per unit of work, over all rounds."""

    best: float
    median: float
    rounds: int
    size: int
    cpu_share: float  # CPU time / wall time: about 1 on one thread


def measure(contestants: Sequence[Contestant], *, rounds: float, seconds: float, aim: float = 0.1) -> dict[str, Timing]:
    """Time contestants in turn, A B C A B C ..., each in runs of about `aim` seconds, after warming up.

    Between 3 (fewer if asked for) and `rounds` rounds, as many as fit in `seconds`. Compilation happens in the
    warm-up, with the very sizes that are timed later.
    """
    for contestant in contestants:
        calibrate(contestant, aim)
    walls: dict[str, list[float]] = {c.name: [] for c in contestants}
    shares: dict[str, list[float]] = {c.name: [] for c in contestants}
    deadline = time.perf_counter() + seconds
    gc.collect()
    gc.disable()
    try:
        for done in range(int(rounds)):
            if done >= min(3, rounds) and time.perf_counter() > deadline:
                break
            for contestant in contestants:
                wall, cpu = timed(contestant)
                walls[contestant.name].append(wall / contestant.size)
                shares[contestant.name].append(cpu / wall)
    finally:
        gc.enable()
    return {
        c.name: Timing(
            min(walls[c.name]),
            statistics.median(walls[c.name]),
            len(walls[c.name]),
            c.size,
            statistics.median(shares[c.name]),
        )
        for c in contestants
    }


def calibrate(contestant: Contestant, aim: float) -> None:
    """Choose the size of a run, if it is not given, and warm up with it."""
    if contestant.size:
        timed(contestant)
        return
    contestant.size = min(contestant.largest, 4 * contestant.unit)
    timed(contestant)
    while contestant.size < contestant.largest:
        wall = min(timed(contestant)[0] for _ in range(2))
        if wall > aim / 2:
            break
        grown = contestant.size * min(20.0, max(1.5, aim / max(wall, 1e-9)))
        contestant.size = min(contestant.largest, math.ceil(grown / contestant.unit) * contestant.unit)
        timed(contestant)


def timed(contestant: Contestant) -> tuple[float, float]:
    """Return wall and CPU seconds of one run."""
    contestant.reset()
    cpu, wall = time.process_time(), time.perf_counter()
    contestant.run(contestant.size)
    return time.perf_counter() - wall, time.process_time() - cpu


def available(makers: Mapping[str, Callable[..., Any]], *arguments: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Make the rivals that are installed; say by name why the others are skipped."""
    made, skipped = {}, {}
    for name, maker in makers.items():
        try:
            made[name] = maker(*arguments)
        except (ImportError, OSError) as error:  # OSError: a shared library or a compiler
            skipped[name] = "not installed" if isinstance(error, ImportError) else str(error)
    return made, skipped


# ------------------------------------------------------------------------------------------------------ reports


@dataclass
class Table:
    title: str
    columns: list[str]
    rows: list[list[Any]]


class Limit(NamedTuple):
    """Seconds that a unit of work takes at least on this machine, and the resource that sets them."""

    seconds: float
    resource: str


@dataclass
class Aim:
    """An aim of the project and what was reached; `value` None: could not be measured, `why` says the reason.

    `limit` is the value that this machine allows, where that is known, and `resource` what sets it.
    """

    text: str
    value: float | None
    at_least: float | None = None
    at_most: float | None = None
    why: str = ""
    limit: float | None = None
    resource: str = ""

    COLUMNS: ClassVar[list[str]] = ["aim", "bound", "reached", "limit", "verdict"]

    @property
    def row(self) -> list[str]:
        """What tables show of it, in COLUMNS."""
        limit = "-" if self.limit is None else f"{shown(self.limit)}, {self.resource}"
        return [self.text, self.bound, shown(self.value), limit, self.verdict]

    @property
    def verdict(self) -> str:
        if self.value is None:
            return f"not measured: {self.why}"
        reached = (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )
        return "reached" if reached else "missed"

    @property
    def bound(self) -> str:
        return f"≥ {shown(self.at_least)}" if self.at_least is not None else f"≤ {shown(self.at_most)}"


@dataclass
class Plot:
    """A picture: "bars" has {group: {series: value}} in `data`, "lines" {series: [[x, y], ...]}."""

    name: str
    kind: str
    title: str
    x: str
    y: str
    data: dict[str, Any]


@dataclass
class Report:
    """The answer to one question."""

    name: str
    question: str
    tables: list[Table] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    timings: dict[str, dict[str, Any]] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    quick: bool = False
    seconds: float = 0.0

    def add_timings(self, workload: str, timings: dict[str, Timing]) -> None:
        """Keep the raw figures for the JSON file, and complain of rivals with more than one thread."""
        self.timings[workload] = {name: asdict(timing) for name, timing in timings.items()}
        for name, timing in timings.items():
            if timing.cpu_share > ONE_THREAD:
                self.notes.append(f"{workload}: {name} used {timing.cpu_share:.1f} threads")

    def save(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False, default=float)
        (folder / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Report:
        fields = json.loads(path.read_text(encoding="utf-8"))
        for key, kind in (("tables", Table), ("aims", Aim), ("plots", Plot)):
            fields[key] = [kind(**entry) for entry in fields[key]]
        return cls(**fields)

    def markdown(self, pictures: str = "") -> str:
        """Return the report as Markdown, with links to its plots in the folder `pictures`."""
        lines = [f"## {self.name}: {self.question}", ""]
        for table in self.tables:
            lines += [f"**{table.title}**", "", *aligned([table.columns, *table.rows]), ""]
        if self.aims:
            lines += [*aligned([Aim.COLUMNS, *(aim.row for aim in self.aims)]), ""]
        lines += [f"- Check: {check}" for check in self.checks] + [f"- {note}" for note in self.notes]
        if pictures:
            lines += ["", *(f"![{plot.title}]({pictures}/{self.name}-{plot.name}.png)" for plot in self.plots)]
        return "\n".join(lines).rstrip() + "\n"


def shown(value: Any) -> str:
    """Write a number with three significant digits, and anything else as it is."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 5)}f}"


def aligned(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the lines of a Markdown table; the first row is its head."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    numeric = [i > 0 and any(isinstance(row[i], (int, float)) for row in rows[1:]) for i in range(len(widths))]
    lines = [
        "| " + " | ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)) + " |"
        for row in cells
    ]
    rule = "| " + " | ".join("-" * (w - 1) + ":" if n else "-" * w for w, n in zip(widths, numeric, strict=True)) + " |"
    return [lines[0], rule, *lines[1:]]


def comparison(
    title: str,
    timings: dict[str, Timing],
    skipped: dict[str, str],
    unit: str = "µs per sample",
    limit: Limit | None = None,
) -> Table:
    """Return the table of a race: best and median, and how many times as long as cmlp each takes."""
    ours = timings["cmlp"].best
    rows: list[list[Any]] = [
        [name, timing.best * 1e6, timing.median * 1e6, timing.best / ours, timing.size]
        for name, timing in sorted(timings.items(), key=lambda item: item[1].best)
    ]
    if limit is not None:
        rows.insert(0, [f"limit: {limit.resource}", limit.seconds * 1e6, None, limit.seconds / ours, None])
    rows += [[name, f"skipped: {why}", None, None, None] for name, why in skipped.items()]
    return Table(title, ["", f"{unit}, best", "median", "best / cmlp's", "units a run"], rows)


def speedup(timings: dict[str, Timing], rival: str) -> float | None:
    """Return how many times as long as cmlp a rival takes, or None if it was not timed."""
    return timings[rival].best / timings["cmlp"].best if rival in timings else None


def speedup_aims(
    workload: str,
    timings: dict[str, Timing],
    at_least: Mapping[str, float],
    skipped: dict[str, str],
    limit: Limit | None = None,
) -> list[Aim]:
    """Return the aims of being so many times as fast as each of some rivals."""
    aims = []
    for rival, times in at_least.items():
        why = f"{rival} {skipped.get(rival, 'was not run')}"
        aim = Aim(f"{workload}: times as fast as {rival}", speedup(timings, rival), at_least=times, why=why)
        if limit is not None and rival in timings:
            aim.limit, aim.resource = timings[rival].best / limit.seconds, limit.resource
        aims.append(aim)
    return aims
