"""When a job runs: read as cron says it, and written as systemd and Quartz say it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hwm_magics.errors import ConfigError
from hwm_magics.jobs.export.rendering import needs_jobs_extra

__all__ = ["Schedule", "read_schedule"]

_FIELD = re.compile(
    r"(?i)(?:\*|\d+(?:-\d+)?|[a-z]{3}(?:-[a-z]{3})?)(?:/\d+)?(?:,(?:\d+(?:-\d+)?|[a-z]{3}(?:-[a-z]{3})?)(?:/\d+)?)*"
)
_SHORT = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_FIELDS = ("minute", "hour", "day", "month", "weekday")
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_HINT = "five fields: minute hour day month weekday, such as '0 6 * * *' or '*/15 7-19 * * mon-fri'"

Values = tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule.

    Attributes:
        cron: Its five fields.
        timezone: The IANA zone that they are meant in.
        minutes, hours, days, months, weekdays: The values of each; None for all. Sunday is 0.
    """

    cron: str
    timezone: str
    minutes: Values
    hours: Values
    days: Values
    months: Values
    weekdays: Values

    @property
    def quartz(self) -> str:
        """As Quartz says it, and so Databricks: seconds first, ``?`` for the day that does not count, Sunday is 1.

        Raises:
            ConfigError: Days and weekdays are both given: for cron either is enough, and Quartz can't say that.
        """
        self._refuse_either("Databricks")
        weekdays = None if self.weekdays is None else tuple(day + 1 for day in self.weekdays)
        day = "?" if weekdays is not None else _list(self.days)
        weekday = _list(weekdays) if weekdays is not None else "?"
        return f"0 {_list(self.minutes)} {_list(self.hours)} {day} {_list(self.months)} {weekday}"

    @property
    def on_calendar(self) -> str:
        """As systemd's ``OnCalendar=`` says it.

        Raises:
            ConfigError: Days and weekdays are both given: for cron either is enough, and systemd wants both.
        """
        self._refuse_either("systemd")
        weekdays = "" if self.weekdays is None else ",".join(_DAYS[day] for day in self.weekdays) + " "
        date = f"*-{_list(self.months, 2)}-{_list(self.days, 2)}"
        return f"{weekdays}{date} {_list(self.hours, 2)}:{_list(self.minutes, 2)}:00 {self.timezone}"

    def _refuse_either(self, who: str) -> None:
        if self.days is not None and self.weekdays is not None:
            raise ConfigError(
                f"the schedule {self.cron!r} names days and weekdays, which {who} can't say as cron means it",
                hint="name one of them",
            )


def _list(values: Values, width: int = 0) -> str:
    return "*" if values is None else ",".join(f"{value:0{width}}" for value in values)


def read_schedule(text: str, timezone: str = "UTC") -> Schedule:
    """Read a schedule.

    Args:
        text: Five fields, or one of cron's short words such as ``@daily``.
        timezone: An IANA zone.

    Raises:
        ConfigError: It is none, or there is no such zone.
        EngineNotInstalledError: The extra ``jobs`` is missing.
    """
    with needs_jobs_extra("reading a schedule"):
        from croniter import CroniterError, croniter
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"--timezone {timezone!r} is no time zone", hint="write one such as Europe/Berlin or UTC"
        ) from None
    words = text.split()
    if text.strip().lower() not in _SHORT and not (
        len(words) == len(_FIELDS) and all(_FIELD.fullmatch(word) for word in words)
    ):
        raise ConfigError(f"--schedule {text!r} is no schedule", hint=_HINT)
    try:
        found, nth = croniter.expand(text.strip())
    except (CroniterError, ValueError, KeyError) as error:
        raise ConfigError(f"--schedule {text!r} is no schedule: {error}", hint=_HINT) from None
    fields = [None if each == ["*"] else tuple(int(one) for one in each) for each in found]
    if nth or len(fields) != len(_FIELDS):
        raise ConfigError(f"--schedule {text!r} is no schedule", hint=_HINT)
    cron = " ".join(words) if len(words) > 1 else " ".join(_list(each) for each in fields)
    return Schedule(cron, timezone, *fields)
