"""What the contract's transforms do with a DataFrame, in pandas' words and in Spark's."""

from __future__ import annotations

from typing import Any


class PandasFrames:
    """A transform gets chunk by chunk, each a pandas DataFrame."""

    chunked = True

    def count(self, frame: Any) -> int:
        return len(frame)

    def upper(self, frame: Any) -> Any:
        return frame.assign(v=frame["v"].str.upper())

    def above(self, frame: Any, number: int) -> Any:
        return frame[frame["id"] > number]

    def below(self, frame: Any, number: int) -> Any:
        return frame[frame["id"] < number]

    def doubled(self, frame: Any) -> Any:
        return frame.assign(double=frame["id"] * 2)

    def constant(self, frame: Any, value: object) -> Any:
        return frame.assign(v=value)

    def without(self, frame: Any, name: str) -> Any:
        return frame.drop(columns=[name])


class SparkFrames:
    """A transform gets all rows, as one Spark DataFrame."""

    chunked = False

    def count(self, frame: Any) -> int:
        return int(frame.count())

    def upper(self, frame: Any) -> Any:
        return frame.selectExpr("id", "u", "upper(v) AS v")

    def above(self, frame: Any, number: int) -> Any:
        return frame.filter(f"id > {number}")

    def below(self, frame: Any, number: int) -> Any:
        return frame.filter(f"id < {number}")

    def doubled(self, frame: Any) -> Any:
        return frame.selectExpr("*", "id * 2 AS double")

    def constant(self, frame: Any, value: object) -> Any:
        written = f"'{value}'" if isinstance(value, str) else f"CAST({value} AS DOUBLE)"
        return frame.selectExpr("id", "u", f"{written} AS v")

    def without(self, frame: Any, name: str) -> Any:
        return frame.drop(name)
