"""The widgets under a summary: which there are, how they look, and what a press on each of them calls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hwm_magics.core.render import escape

__all__ = ["WIDGET_VIEW", "Controls", "Press"]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

Press = Callable[[], object]
"""What a button does; what it returns is not looked at."""

# A front end marks a widget whose kernel is gone; no script of ours could say so.
_GONE = (
    "This card belonged to a kernel that has ended. Run the cell again: it looks anew, and makes a new plan."
)
_STYLE = f"""<style>
.hwm-card{{color:var(--jp-ui-font-color1,inherit);max-width:64em;padding:2px}}
.hwm-card .widget-hbox{{flex-wrap:wrap;overflow:visible}}
.hwm-card .widget-button{{width:auto;min-width:5.5em;overflow:visible}}
.hwm-card .widget-button:focus-visible,.hwm-card input:focus-visible{{outline:2px solid \
var(--jp-brand-color1,currentColor);outline-offset:1px}}
.hwm-card .hwm-off{{opacity:.45}}
.hwm-card .widget-html-content{{line-height:1.45;overflow-wrap:anywhere;font-size:13px}}
.hwm-card .widget-text{{width:auto;max-width:30em}}
.hwm-card .hwm-meter{{height:8px;max-width:30em;border:1px solid var(--jp-border-color1,currentColor);\
border-radius:2px;margin:.2em 0}}
.hwm-card .hwm-meter>div{{height:100%;background-color:var(--jp-brand-color1,#7a8ba0)}}
.hwm-card .hwm-line{{font-variant-numeric:tabular-nums}}
.hwm-card .hwm-unseen{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
.hwm-card.jupyter-widgets-disconnected>*{{display:none}}
.hwm-card.jupyter-widgets-disconnected::before{{content:"{_GONE}";font-family:inherit;float:none}}
</style>"""

# name: tooltip, style
_BUTTONS = {
    "Run": ("Load the rows, in one commit a target", "primary"),
    "Replace all rows": ("Load everything anew in place of the rows that are there, in one commit", "danger"),
    "Dry run": ("Read and check the first rows, and write nothing", ""),
    "Count": ("Have the source count the rows that would be read; nothing is written", ""),
    "Refresh": ("Look at source, target and settings again, and make a new plan; nothing is written", ""),
    "Full reload…": ("Plan to replace all rows; that plan is shown first and has to be confirmed", ""),
    "Back": ("Plan the ordinary load again; nothing is written", ""),
    "Cancel": ("Before it runs: put the plan away. While it runs: stop before the commit", ""),
}


class Controls:
    """Core widgets only, none of them an output widget: these work in every front end that has widgets.

    Args:
        presses: What each button does, by its name.

    Attributes:
        box: The widget to show.
        buttons: Every button by its name, offered or not: a press may still be on its way.
        offered: The names of those that are shown, in order.
        confirmation: Where the target's name is typed; None when none is asked for.
    """

    def __init__(self, presses: Mapping[str, Press]) -> None:
        import ipywidgets

        self._widgets = ipywidgets
        # Every model is a message, and a card is up when all have come: so the widgets share what they can.
        self._layout = ipywidgets.Layout()
        self._look = ipywidgets.ButtonStyle()
        prose = ipywidgets.HTML(layout=self._layout)
        self._prose = prose.style
        self.buttons: dict[str, Any] = {name: self._button(name, press) for name, press in presses.items()}
        self._row = ipywidgets.HBox(layout=self._layout)
        self._meter = prose
        self._status = self._html()
        self._asked = ""
        self.offered: tuple[str, ...] = ()
        self.confirmation: Any = None
        parts = [self._html(_STYLE), self._row, self._meter, self._status]
        self.box = ipywidgets.VBox(parts, layout=self._layout)
        self.box.add_class("hwm-card")

    @property
    def status(self) -> Any:
        """The widget whose sentences screen readers read out."""
        return self._status

    @property
    def meter(self) -> Any:
        """The widget that shows progress."""
        return self._meter

    def _html(self, text: str = "") -> Any:
        return self._widgets.HTML(text, layout=self._layout, style=self._prose)

    def _button(self, name: str, press: Press) -> Any:
        tip, style = _BUTTONS[name]
        button = self._widgets.Button(
            description=name, tooltip=tip, button_style=style, layout=self._layout, style=self._look
        )
        button.on_click(lambda _button: press())
        # The page then reports its views, and the kernel hears the first click on a thread of
        # its own also while a cell runs.
        with contextlib.suppress(Exception):
            button._view_count = 0  # noqa: SLF001 - ipywidgets has no other name for it
        return button

    def offer(self, names: Sequence[str], confirm: str = "") -> None:
        """Show these buttons.

        Args:
            names: Their names, in order.
            confirm: What has to be typed before the first of them does anything; "" for nothing.
        """
        if self.offered != tuple(names):
            self.offered = tuple(names)
            self._row.children = tuple(self.buttons[name] for name in names)
        if confirm == self._asked:
            return
        self._asked = confirm
        top: list[Any] = []
        self.confirmation = None
        if confirm:
            told = f"To replace all its rows, type the target's name: <strong>{escape(confirm)}</strong>"
            self.confirmation = self._widgets.Text(
                description="Target:",
                placeholder="the name as it stands above",
                continuous_update=True,
                style={"description_width": "initial"},
            )
            top = [self._html(f"<div>{told}</div>"), self.confirmation]
        style, *_ = self.box.children
        self.box.children = (style, *top, self._row, self._meter, self._status)

    def dim(self, names: Collection[str]) -> None:
        """Show these as out of use.

        They stay enabled, as disabling the focused button would throw the keyboard's focus away; the job
        ignores presses that come at the wrong time.
        """
        for name in self.offered:
            button = self.buttons[name]
            (button.add_class if name in names else button.remove_class)("hwm-off")

    def show_progress(self, html: str) -> None:
        """Show a picture of the progress; "" for none."""
        if self._meter.value != html:
            self._meter.value = html

    def say(self, text: str, *, urgent: bool = False, unseen: bool = False) -> None:
        """Say something, also to screen readers.

        Args:
            text: Lines of plain text.
            urgent: Whether a screen reader should interrupt itself for it.
            unseen: Whether it is for screen readers only, as the progress shows it to everybody else.
        """
        rows = "<br>".join(escape(line) for line in text.splitlines())
        # The widget puts in a new element each time. Readers announce a new alert; a new status, most of them.
        role = "alert" if urgent else "status"
        live = "assertive" if urgent else "polite"
        look = "hwm-status hwm-unseen" if unseen else "hwm-status"
        self._status.value = f'<span class="{look}" role="{role}" aria-live="{live}">{rows}</span>'

    def close(self) -> None:
        """Leave only what was said last."""
        style, *_ = self.box.children
        self.offered = ()
        self.confirmation = None
        self.box.children = (style, self._status)

    def discard(self) -> None:
        """Close every widget: they were not needed."""
        shared = (self._layout, self._look, self._prose)
        for each in (*self.buttons.values(), *self.box.children, self.box, *shared):
            each.close()
