"""`python -m benchmarks`: answers every question, or those named with --only, and writes RESULTS.md."""

from __future__ import annotations

import argparse
import datetime
import importlib
import re
import sys
import time
from pathlib import Path
from typing import NoReturn

import cmlp
from benchmarks import ROOT, aims, machine
from benchmarks.harness import Aim, Report, aligned

QUESTIONS = (
    "headline",
    "per_sample",
    "mini_batch",
    "one_row",
    "predict",
    "calls",
    "threads",
    "estimators",
    "growth",
    "memory",
    "importing",
    "roofline",
)


# What RESULTS.md shows of every release: question, text, workload, contestant; in µs.
_ANY = "10-32-32-1, learn_one of any kind"
KEPT = (
    ("headline", "headline: µs per sample", "6528-5-5-1", "cmlp"),
    ("per_sample", "10-32-32-1, per sample: µs per sample", "10-32-32-1", "cmlp"),
    ("per_sample", "784-128-10, per sample: µs per sample", "784-128-10", "cmlp"),
    ("mini_batch", "10-32-32-1, Adam, batch 32: µs per step", "10-32-32-1, adam, batch 32", "cmlp"),
    ("mini_batch", "784-128-10, Adam, batch 128: µs per step", "784-128-10, adam, batch 128", "cmlp"),
    ("one_row", "10-32-32-1: µs to predict one row", "10-32-32-1, predict one row", "cmlp"),
    ("one_row", "10-32-32-1: µs to learn one row", "10-32-32-1, learn one row", "cmlp"),
    ("one_row", "the same, float64 row and target", _ANY, "float64 row, np.float64; SGD"),
    ("one_row", "the same, Adam", _ANY, "float32 row, float; Adam"),
    ("predict", "10-32-32-1: µs per row, 10 at once", "10-32-32-1, predict 10 rows", "cmlp"),
    ("predict", "784-128-10: µs per row, 1000 at once", "784-128-10, predict 1000 rows", "cmlp"),
    ("calls", "fit of 3 parameters, 1 epoch: µs", "3 parameters", "fit, defaults, epochs=1"),
)

HEAD = """# Results

Written by `python -m benchmarks`. Times are the best of several runs, contestants in turn; float32, one thread each
unless said otherwise, compilation excluded. Ratios to cmlp's time above 1: cmlp is faster. Each release keeps its
figures and plots in `results/`; compare two releases only if they were measured on one machine (their JSON files say on
which), or build both: `python -m benchmarks --against REV`.

The limit of an aim is what it could come to on this machine: if cmlp were as fast as a loop in C that makes nothing
but the multiply-adds, or those that must wait for each other, or reads X or the weights and does nothing else,
whichever takes longest, measured in the same run (`limits.py`). Calls from Python are not part of it.
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small workloads, few rounds: under a minute, and noisy")
    parser.add_argument("--only", action="append", choices=QUESTIONS, metavar="NAME", help="may be given repeatedly")
    parser.add_argument("--list", action="store_true", help="list the questions and end")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of RESULTS.md and results/VERSION/; default: benchmarks, with --quick build/benchmarks",
    )
    parser.add_argument("--against", metavar="REV", help="is cmlp slower than in that revision? exits with 1 if it is")
    parser.add_argument("--limit", type=float, default=2.0, metavar="PERCENT", help="of --against; default 2")
    arguments = parser.parse_args()
    if arguments.against:
        compare_with(arguments)
    if arguments.list:
        for name in QUESTIONS:
            question = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
            print(f"{name:12}{question.splitlines()[0]}")
        return
    output = arguments.output or ROOT / ("build/benchmarks" if arguments.quick else "benchmarks")
    results = output / "results" / cmlp.__version__
    results.mkdir(parents=True, exist_ok=True)
    described = machine.describe() | {"aims": aims.WHOSE, "date": datetime.date.today().isoformat()}
    print("\n".join(f"{name}: {value}" for name, value in described.items()), flush=True)
    for name in arguments.only or QUESTIONS:
        start = time.perf_counter()
        report: Report = importlib.import_module(f"benchmarks.{name}").run(arguments.quick)
        report.machine, report.quick = described, arguments.quick
        report.seconds = time.perf_counter() - start
        print(f"\n{report.markdown()}\n({report.seconds:.0f} s)", flush=True)
        report.save(results)
        draw(report, results)
    write_results(output)


def compare_with(arguments: argparse.Namespace) -> NoReturn:
    """Compare this tree with another revision, question by question."""
    from benchmarks import against

    wanted = arguments.only or against.QUESTIONS
    questions = [question for question in against.QUESTIONS if question in wanted]
    slower = against.compare(arguments.against, questions, quick=arguments.quick, limit=arguments.limit / 100)
    sys.exit(slower)


def draw(report: Report, folder: Path) -> None:
    """Draw the report's plots, if matplotlib is there."""
    try:
        from benchmarks import plots

        plots.draw(report, folder)
    except ImportError:
        print("no plots: matplotlib is not installed")
        report.plots.clear()


def order(folder: Path) -> list[int]:
    """Return the numbers in the name of a release, by which releases are in order."""
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def load(folder: Path) -> list[Report]:
    """Return the reports in a folder, in the order of the questions."""
    return [Report.load(path) for name in QUESTIONS if (path := folder / f"{name}.json").exists()]


def over_releases(releases: dict[str, list[Report]]) -> list[str]:
    """Return the lines of a table with a column a release: the figures of KEPT, and how many aims were reached."""
    rows: list[list[object]] = []
    for question, text, workload, contestant in KEPT:
        figures: list[float | None] = []
        for reports in releases.values():
            timings = next((report.timings.get(workload, {}) for report in reports if report.name == question), {})
            figures.append(timings[contestant]["best"] * 1e6 if contestant in timings else None)
        rows.append([text, *figures])
    judged = [[aim for report in reports for aim in report.aims] for reports in releases.values()]
    wheels = [next((aim.value for aim in of if aim.text == "wheel, MB"), None) for of in judged]
    rows.append(["wheel, MB", *wheels])
    rows.append(["aims reached", *(f"{sum(aim.verdict == 'reached' for aim in of)} of {len(of)}" for of in judged)])
    return ["## Releases", "", *aligned([["", *releases], *rows]), ""]


def write_results(output: Path) -> None:
    """Put the newest release's reports, of this run and earlier ones, into RESULTS.md, and figures of all releases."""
    folders = sorted((path for path in (output / "results").iterdir() if path.is_dir()), key=order)
    releases = {folder.name: load(folder) for folder in folders}
    newest, found = list(releases.items())[-1]
    lines = [
        HEAD,
        *over_releases(releases),
        "## Aims",
        "",
        *aligned([["question", *Aim.COLUMNS], *([report.name, *aim.row] for report in found for aim in report.aims)]),
        "",
    ]
    previous: dict[str, str] = {}
    for report in found:
        if report.machine != previous:
            lines += ["## Machine", "", *(f"- {name}: {value}" for name, value in report.machine.items()), ""]
            previous = report.machine
        command = f"python -m benchmarks --only {report.name}" + (" --quick" if report.quick else "")
        lines += [report.markdown(f"results/{newest}"), f"`{command}` ({report.seconds:.0f} s)", ""]
    (output / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
