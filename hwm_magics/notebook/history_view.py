"""The history as a picture: rows a load, the watermark against the wall clock, how far it was behind."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hwm_magics.errors import EngineNotInstalledError
from hwm_magics.jobs.series import Series, series_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hwm_magics.core.observed import CommitRecord

__all__ = ["HistoryPicture", "pictures"]

_DPI = 100
_COLOURS = 48
_INCHES = (8.0, 2.3)
# Colours that colour-blind eyes tell apart, and a hatch for everybody.
_KINDS = {
    "first run": ("#0072b2", ""),
    "incremental": ("#56b4e9", "//"),
    "full reload": ("#d55e00", ".."),
    "backfill": ("#e69f00", "xx"),
}
_OTHER = ("#999999", "--")
_LINE = "#0072b2"
_SHADE = "#999999"
_MANY_TIMES = 50
_FEWEST = 8


@dataclass(frozen=True, slots=True)
class HistoryPicture:
    """One node's history.

    Attributes:
        png: The picture.
        text: What it shows, in words.
    """

    png: bytes
    text: str

    @property
    def bundle(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """What front ends show, and its metadata."""
        shown = {"image/png": base64.b64encode(self.png).decode("ascii"), "text/plain": self.text}
        return shown, {"image/png": {"alt": self.text}}


def pictures(records: Iterable[CommitRecord]) -> tuple[HistoryPicture, ...]:
    """Pictures of a log's loads, one a node.

    Args:
        records: The loads.

    Raises:
        EngineNotInstalledError: matplotlib is missing.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise EngineNotInstalledError(
            "the package matplotlib, which draws the picture, is not installed",
            hint="pip install 'hwm-magics[plot]', or leave --plot away for the table",
        ) from None
    drawn = []
    # The notebook's own settings stay out of it, and as they are.
    with mpl.rc_context(rc=mpl.rcParamsDefault):
        for series in series_of(records):
            panels = [_rows, _progress, _behind] if series.timed else [_rows, _progress]
            if not any(point.mark is not None for point in series.points):
                panels = [_rows]
            width, height = _INCHES
            figure = Figure(figsize=(width, height * len(panels)), layout="constrained")
            axes = figure.subplots(len(panels), squeeze=False)[:, 0]
            for panel, axis in zip(panels, axes, strict=True):
                panel(axis, series)
                axis.grid(axis="y", alpha=0.3)
                axis.spines[["top", "right"]].set_visible(False)
            figure.suptitle(f"Loads of {series.node}", fontsize=11, parse_math=False)
            drawn.append(HistoryPicture(_png(figure), series.text))
    return tuple(drawn)


def _png(figure: Figure) -> bytes:
    import warnings

    out = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, and stands in the text.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(out, format="png", dpi=_DPI, facecolor="white")
    # A notebook keeps it: with a palette it is a third of the size.
    from PIL import Image

    small = io.BytesIO()
    with Image.open(out) as full:
        full.convert("RGB").quantize(_COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def _rows(axis: Axes, series: Series) -> None:
    heights = [point.rows or 0 for point in series.points]
    for kind in dict.fromkeys(point.kind for point in series.points):
        colour, hatch = _KINDS.get(kind, _OTHER)
        places = [place for place, point in enumerate(series.points) if point.kind == kind]
        axis.bar(
            places,
            [heights[place] for place in places],
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=kind,
        )
    some = [height for height in heights if height]
    scale = ""
    if some and max(some) > _MANY_TIMES * min(some):
        axis.set_yscale("symlog", linthresh=1)
        scale = ", logarithmic"
    axis.set_ylabel(f"rows{scale}")
    axis.yaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    step = -(-len(series.points) // 20)
    axis.set_xticks(
        range(0, len(series.points), step), [str(point.version) for point in series.points[::step]]
    )
    axis.set_xlim(-0.6, max(len(series.points), _FEWEST) - 0.4)
    axis.set_xlabel("version")
    axis.set_title("Rows written a load", fontsize=9, loc="left")
    axis.legend(fontsize=8, frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))


def _times(axis: Any) -> None:
    import matplotlib.dates

    dates: Any = matplotlib.dates  # half of it is not typed
    locator = dates.AutoDateLocator(minticks=3, maxticks=8)
    axis.set_major_locator(locator)
    axis.set_major_formatter(dates.ConciseDateFormatter(locator))


def _clock(axis: Axes, times: Any) -> None:
    _times(axis.xaxis)
    if len(set(times)) == 1:
        axis.set_xlim(times[0] - timedelta(hours=1), times[0] + timedelta(hours=1))


def _shade_pauses(axis: Axes, series: Series) -> None:
    for number, pause in enumerate(series.pauses):
        start: Any = pause.start
        end: Any = pause.end
        label = None if number else "long pause"
        axis.axvspan(start, end, color=_SHADE, alpha=0.25, hatch="///", label=label)


def _progress(axis: Axes, series: Series) -> None:
    from matplotlib.ticker import MaxNLocator

    points = [point for point in series.points if point.mark is not None]
    times: Any = [point.at for point in points]
    marks: Any = [point.mark for point in points]
    _shade_pauses(axis, series)
    axis.plot(times, marks, color=_LINE, marker="o", markersize=4, drawstyle="steps-post", label="watermark")
    if series.timed:
        axis.plot(times, times, color=_SHADE, linestyle="--", label="the clock")
        _times(axis.yaxis)
    else:
        axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.yaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    _clock(axis, times)
    axis.set_ylabel(series.cursor, parse_math=False)
    axis.set_title("The watermark against the wall clock (UTC)", fontsize=9, loc="left")
    axis.legend(fontsize=8, frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))


def _behind(axis: Axes, series: Series) -> None:
    points = [point for point in series.points if point.behind is not None]
    lengths = [point.behind for point in points if point.behind is not None]
    unit, name = _unit(max(lengths))
    times: Any = [point.at for point in points]
    _shade_pauses(axis, series)
    axis.plot(times, [length / unit for length in lengths], color=_LINE, marker="o", markersize=4)
    axis.axhline(0, color=_SHADE, linestyle="--")
    _clock(axis, times)
    axis.set_ylabel(name)
    clock = "" if series.zoned else "; marks have no zone, and are taken as UTC"
    axis.set_title(f"How far the watermark was behind the clock{clock}", fontsize=9, loc="left")


def _unit(longest: timedelta) -> tuple[timedelta, str]:
    if longest > timedelta(days=3):
        return timedelta(days=1), "days"
    if longest > timedelta(hours=3):
        return timedelta(hours=1), "hours"
    return (
        (timedelta(minutes=1), "minutes")
        if longest > timedelta(minutes=3)
        else (timedelta(seconds=1), "seconds")
    )
