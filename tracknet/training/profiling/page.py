"""The page of a profile: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from tracknet.data.whole_file import whole_file
from tracknet.training.profiling.phases import PHASES
from tracknet.training.profiling.plots import COLOURS, bars, line, stacked
from tracknet.training.profiling.results import Profiled
from tracknet.training.profiling.words import memory_size, operations, percent, rate, seconds

PAGE = "profile.html"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; background: #f6f7f9; margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
section { background: #fff; border: 1px solid #dfe3e8; border-radius: 8px; }
section { padding: 1rem 1.2rem; margin: 1rem 0; }
.verdict { border-left: 6px solid #2563a8; font-size: 1.15rem; }
.note, .sub { color: #5b6776; font-size: .87rem; margin: .4rem 0 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; }
th, td { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #eceff2; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child { overflow-wrap: anywhere; }
.dot { display: inline-block; width: .75em; height: .75em; border-radius: 2px; margin-right: .5em; }
svg { width: 100%; height: auto; display: block; margin: .4rem 0; }
svg text { font: 12px system-ui, sans-serif; fill: #1d2733; }
"""


def write_page(profile: Profiled, path: Path) -> None:
    """Write the page.

    Args:
        profile: What it shows.
        path: The file.

    Raises:
        TrackNetError: The disk does not allow it.
    """
    with whole_file(path) as part:
        part.write_text(page_of(profile), encoding="utf-8")


def page_of(profile: Profiled) -> str:
    """Give the page as HTML; all text that comes from elsewhere is escaped."""
    sections = [
        f'<section class="verdict">{escape(profile.verdict)}</section>',
        _section("Rates", _rates(profile)),
        _section("A step, phase by phase", _phases(profile)),
        _section("Steps as they are", _steps(profile)),
        _section("Computing", _computing(profile)),
        _section("Memory", _memory(profile)),
        _section("Operators", _operators(profile)),
        _section("What was profiled", _setting(profile)),
    ]
    title = f"Profile of {escape(profile.run)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        f'<p class="sub">{escape(profile.network)} on {escape(profile.device)}</p>\n'
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table; the first column is text, the others are numbers. The cells are HTML."""

    def line_of(tag: str, cells: Sequence[str]) -> str:
        kinds = ["", *[' class="n"'] * (len(cells) - 1)]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    body = "".join(f"<tr>{line_of('td', row)}</tr>\n" for row in rows)
    top = f"<thead><tr>{line_of('th', head)}</tr></thead>\n" if any(head) else ""
    return f"<table>\n{top}<tbody>\n{body}</tbody>\n</table>"


def _rates(profile: Profiled) -> str:
    shown = [
        ("the loader alone", profile.loader_rate),
        ("the network, never waiting", profile.network_rate),
        ("the training as it is", profile.training_rate),
    ]
    known = [(name, value) for name, value in shown if value is not None]
    return bars([(name, value, f"{rate(value)} windows/s") for name, value in known])


def _phases(profile: Profiled) -> str:
    parts = [(PHASES[name], profile.phases[name], COLOURS[name]) for name in PHASES]
    rows = [
        (
            f'<span class="dot" style="background:{COLOURS[name]}"></span>{escape(PHASES[name])}',
            seconds(profile.phases[name]),
            percent(profile.share(name)),
        )
        for name in PHASES
    ]
    rows.append(("<b>all</b>", f"<b>{seconds(profile.step)}</b>", ""))
    told = "Means; the device was waited for at the end of each phase, so that phases do not overlap here."
    if profile.validation_seconds is not None:
        told += f" A validation took {seconds(profile.validation_seconds)}"
        share = profile.validation_share
        told += "." if share is None else f", {percent(share)} of an epoch with it."
    return stacked(parts) + _table(["phase", "time", "share"], rows) + _note(told)


def _steps(profile: Profiled) -> str:
    times = profile.step_seconds
    shown = line(
        [(float(n), value) for n, value in enumerate(times, profile.first_step + 1)], seconds, "step"
    )
    told = f"{len(times)} steps, from {seconds(min(times))} to {seconds(max(times))}."
    return shown + _note(told)


def _computing(profile: Profiled) -> str:
    rows = []
    if profile.flops is not None:
        rows.append(("forward of a batch", operations(profile.forward_flops or 0)))
        rows.append(("backward of a batch", operations(profile.backward_flops or 0)))
    if profile.peak_flops is not None:
        rows.append(("peak measured here", f"{operations(profile.peak_flops)}/s"))
    if profile.utilisation is not None and profile.flops is not None and profile.peak_flops:
        step = sum(profile.step_seconds) / len(profile.step_seconds)
        rows.append(("share of the peak, in forward and backward", percent(profile.utilisation)))
        rows.append(("share of the peak, whole step", percent(profile.flops / step / profile.peak_flops)))
    told = (
        "Operations of matrix products, convolutions and attention as torch counts them, a multiplication "
        "and an addition as two; the peak is the best of matrix products and convolutions in the precision "
        "of the training."
    )
    return _table(["", ""], rows) + _note(told)


def _memory(profile: Profiled) -> str:
    rows = [(escape(name), memory_size(value)) for name, value in profile.memory.items()]
    shown = [_table(["peak", ""], rows)]
    for name, points in profile.timeline.items():
        shown.append(_note(f"{name}: allocated over the traced steps, without what was there before"))
        shown.append(line([(t, float(b)) for t, b in points], memory_size, "seconds"))
    return "\n".join(shown)


def _operators(profile: Profiled) -> str:
    if not profile.operators:
        return _note("The training ended before a step was traced.")
    on_device = any(one.device_seconds for one in profile.operators)
    rows = [
        (
            escape(one.name),
            f"{one.calls:,}",
            seconds(one.host_seconds),
            *([seconds(one.device_seconds)] if on_device else []),
            memory_size(one.allocated),
        )
        for one in profile.operators
    ]
    head = ["operator", "calls", "host", *(["device"] if on_device else []), "allocated"]
    steps = "one traced step" if profile.traced_steps == 1 else f"{profile.traced_steps} traced steps"
    told = f"Of {steps}; times without those of operators inside."
    told += " trace.json is for chrome://tracing or Perfetto."
    return _table(head, rows) + _note(told)


def _setting(profile: Profiled) -> str:
    workers = "no DataLoader" if profile.num_workers is None else str(profile.num_workers)
    rows = [
        ("windows of a batch", str(profile.windows)),
        ("num_workers", workers),
        ("precision", escape(profile.precision)),
        ("trained parameters", f"{profile.parameters:,}"),
        ("cores, threads", f"{profile.cores}, {profile.threads}"),
        ("torch", escape(profile.torch)),
    ]
    return _table(["", ""], rows)
