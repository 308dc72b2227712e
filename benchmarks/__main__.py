"""`python -m benchmarks`: answers every question, or those named with --only, and writes RESULTS.md."""

from __future__ import annotations

import argparse
import datetime
import importlib
import time
from pathlib import Path

from benchmarks import ROOT, machine
from benchmarks.harness import Report, shown

QUESTIONS = (
    "headline",
    "per_sample",
    "mini_batch",
    "one_row",
    "threads",
    "estimators",
    "growth",
    "memory",
    "importing",
    "roofline",
)


HEAD = """# Results

Written by `python -m benchmarks`. Times are the best of several runs, contestants in turn; float32, one thread each
unless said otherwise, compilation excluded. Ratios to cmlp's time above 1: cmlp is faster.
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
        help="folder of RESULTS.md and results/; default: benchmarks, with --quick build/benchmarks",
    )
    arguments = parser.parse_args()
    if arguments.list:
        for name in QUESTIONS:
            question = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
            print(f"{name:12}{question.splitlines()[0]}")
        return
    output = arguments.output or ROOT / ("build/benchmarks" if arguments.quick else "benchmarks")
    results = output / "results"
    results.mkdir(parents=True, exist_ok=True)
    described = machine.describe() | {"date": datetime.date.today().isoformat()}
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


def draw(report: Report, folder: Path) -> None:
    """Draw the report's plots, if matplotlib is there."""
    try:
        from benchmarks import plots

        plots.draw(report, folder)
    except ImportError:
        print("no plots: matplotlib is not installed")
        report.plots.clear()


def write_results(output: Path) -> None:
    """Put all reports in the folder, of this run and of earlier ones, into RESULTS.md."""
    found = [Report.load(path) for name in QUESTIONS if (path := output / "results" / f"{name}.json").exists()]
    lines = [HEAD, "## Aims", "", "| question | aim | bound | reached | verdict |", "| --- | --- | --- | --- | --- |"]
    for report in found:
        lines += [f"| {report.name} | {a.text} | {a.bound} | {shown(a.value)} | {a.verdict} |" for a in report.aims]
    lines.append("")
    previous: dict[str, str] = {}
    for report in found:
        if report.machine != previous:
            lines += ["## Machine", "", *(f"- {name}: {value}" for name, value in report.machine.items()), ""]
            previous = report.machine
        command = f"python -m benchmarks --only {report.name}" + (" --quick" if report.quick else "")
        lines += [report.markdown("results"), f"`{command}` ({report.seconds:.0f} s)", ""]
    (output / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
