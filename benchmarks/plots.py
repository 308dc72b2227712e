"""Draws the plots that reports ask for; skipped if matplotlib is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.harness import Plot, Report, shown

OURS = "cmlp"
COLOURS = {
    "cmlp": "#d62728",
    "NumPy": "#1f77b4",
    "scikit-learn": "#ff7f0e",
    "PyTorch": "#8c564b",
    "JAX": "#9467bd",
    "Numba": "#2ca02c",
    "plain C": "#7f7f7f",
    "FANN": "#bcbd22",
    "mlpfile": "#17becf",
    "ONNX Runtime": "#e377c2",
    "TorchScript": "#c49c94",
}


def draw(report: Report, folder: Path) -> None:
    """Write every plot of a report as PNG."""
    from matplotlib import pyplot

    for plot in report.plots:
        figure = _bars(plot, pyplot) if plot.kind == "bars" else _lines(plot, pyplot)
        figure.savefig(folder / f"{report.name}-{plot.name}.png", dpi=110, bbox_inches="tight")
        pyplot.close(figure)


def _bars(plot: Plot, pyplot: Any) -> Any:
    """One panel a group, one horizontal bar a contestant, the value written beside it."""
    groups = plot.data
    height = 0.6 + sum(0.3 * len(values) + 0.7 for values in groups.values())
    ratios = {"height_ratios": [len(values) + 1 for values in groups.values()]}
    figure, panels = pyplot.subplots(
        len(groups), 1, figsize=(9, height), squeeze=False, gridspec_kw=ratios, layout="constrained"
    )
    for (title, values), axes in zip(groups.items(), panels[:, 0], strict=True):
        names = sorted(values, key=lambda name: -values[name])
        axes.barh(names, [values[name] for name in names], color=[COLOURS.get(name, "#aec7e8") for name in names])
        for row, name in enumerate(names):
            weight = "bold" if name == OURS else "normal"
            axes.text(values[name] * 1.08, row, shown(float(values[name])), va="center", fontsize=9, fontweight=weight)
        axes.set_xscale("log")
        axes.set_xlim(min(values.values()) / 3, max(values.values()) * 3)
        _plain_ticks(axes.xaxis, min(values.values()) / 3, max(values.values()) * 3)
        axes.set_title(title, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
    panels[-1, 0].set_xlabel(f"{plot.y} (log scale)")
    figure.suptitle(plot.title, fontsize=12)
    return figure


def _lines(plot: Plot, pyplot: Any) -> Any:
    """One line a series, both axes logarithmic, names at the right end of the lines' legend."""
    figure, axes = pyplot.subplots(figsize=(8, 4.8))
    for name, points in plot.data.items():
        width = 2.5 if name == OURS else 1.5
        axes.plot(*zip(*points, strict=True), "o-", label=name, lw=width, color=COLOURS.get(name))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({x for points in plot.data.values() for x, _ in points})
    if len(ticks) <= 12:
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    heights = [y for points in plot.data.values() for _, y in points]
    _plain_ticks(axes.yaxis, min(heights), max(heights))
    axes.set_xlabel(f"{plot.x} (log scale)")
    axes.set_ylabel(f"{plot.y} (log scale)")
    axes.set_title(plot.title)
    axes.grid(alpha=0.3, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def _plain_ticks(axis: Any, lowest: float, highest: float) -> None:
    """Label a logarithmic axis with plain numbers: 1, 2, 5, 10, ..., or evenly if it spans less than a decade."""
    from matplotlib import ticker

    if highest < 10 * lowest:
        axis.set_major_locator(ticker.MaxNLocator(6))
    else:
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if highest < 1000 * lowest else (1,)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(ticker.NullFormatter())
