"""Reads CSV, JSON lines and Parquet files as Arrow batches of declared types: what does not fit is an error."""

from __future__ import annotations

import csv as text_csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa

from hwm_magics.arrow import arrow_type, cast_array, delta_type
from hwm_magics.core.at_once import asked_at_once
from hwm_magics.core.file_options import FileOptions
from hwm_magics.core.manifest import LoadedFile
from hwm_magics.core.observed import Column
from hwm_magics.errors import HwmError, QueryError, SchemaMismatchError, clean_message
from hwm_magics.sources.file_storage import FileStorage
from hwm_magics.sources.fitting import parquet_batches

__all__ = ["FileReader", "Layout", "reader_of"]

T = TypeVar("T")

SAMPLED_FILES = 5
"""So many files are looked into for the types of columns that nobody declared."""
SAMPLED_BYTES = 1 << 20
"""So many bytes of each."""
_BLOCK = 4 << 20
_EXACT_DIGITS = 15
_ZONE = re.compile(r"\d:\d.*(?:Z|[+-]\d\d:?(?:\d\d)?)$")
_SPARK = b"org.apache.spark.version"
"""What Spark writes into the footers of its files."""
_LEADING_ZERO = re.compile(r"[+-]?0\d")


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of some files together.

    Attributes:
        schema: They, with types that Delta Lake has.
        told: How they were told, in words.
        lacking: Columns that some of the files lack, and how many.
    """

    schema: pa.Schema
    told: str
    lacking: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class FileReader:
    """One kind of files.

    Attributes:
        files: Where they lie.
        options: How they are read.
    """

    files: FileStorage
    options: FileOptions
    _headers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def layout(self, new: Sequence[LoadedFile], known: Sequence[Column]) -> Layout:
        """The columns of some files.

        Args:
            new: The files.
            known: The target's columns: what is there keeps its type.

        Raises:
            QueryError: A file can't be read, or its columns don't go together with the others'.
        """
        raise NotImplementedError

    def batches(self, one: LoadedFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of one file, with the columns of a schema; columns that it lacks are NULL.

        Raises:
            QueryError: It can't be read, or a value does not fit its column.
        """
        raise NotImplementedError

    def _stream(self, path: str) -> pa.NativeFile:
        """A file from its beginning, decompressed by its name's ending."""
        raw = self.files.open(path)
        packing = {"gz": "gzip", "bz2": "bz2", "zst": "zstd", "lz4": "lz4"}.get(
            path.rpartition(".")[2].lower()
        )
        return pa.CompressedInputStream(raw, packing) if packing else raw


def reader_of(kind: str, files: FileStorage, options: FileOptions) -> FileReader:
    """The reader of a format."""
    return {"csv": CsvReader, "json": JsonReader, "parquet": ParquetReader}[kind](files, options)


def _failed(path: str, error: Exception, hint: str) -> QueryError:
    return QueryError(f"{path}: {clean_message(error, 300)}", hint=hint)


def _spread(new: Sequence[LoadedFile]) -> list[LoadedFile]:
    """Some files of all: the first, the last, and some between."""
    if len(new) <= SAMPLED_FILES:
        return list(new)
    step = (len(new) - 1) / (SAMPLED_FILES - 1)
    return [new[round(number * step)] for number in range(SAMPLED_FILES)]


def _declared(columns: Iterable[tuple[str, str]]) -> pa.Schema:
    return pa.schema([pa.field(name, arrow_type(kind)) for name, kind in columns])


def _lacking(names: Sequence[str], found: Iterable[Iterable[str]]) -> tuple[tuple[str, int], ...]:
    each = [set(one) for one in found]
    counts = ((name, sum(name not in one for one in each)) for name in names)
    return tuple((name, count) for name, count in counts if count)


def _words(sampled: int, guessed: Sequence[str], options: FileOptions, known: Sequence[str]) -> str:
    """How columns were told, for the plan."""
    if options.schema:
        return "as declared by options.schema"
    parts = []
    if declared := list(options.types):
        parts.append(f"{', '.join(declared)} as declared")
    if known:
        parts.append(f"{', '.join(known)} as in the target")
    if guessed:
        where = "the beginning of one file" if sampled == 1 else f"the beginnings of {sampled} files"
        parts.append(f"{', '.join(guessed)} inferred from {where}")
    return "; ".join(parts)


class CsvReader(FileReader):
    """CSV files with a header line, or without one and with declared columns."""

    __slots__ = ()

    @property
    def _header(self) -> bool:
        return self.options.reader.get("header", True) is not False

    @property
    def _sep(self) -> str:
        return str(self.options.reader.get("sep", ","))

    @property
    def _encoding(self) -> str:
        return str(self.options.reader.get("encoding", "utf8"))

    def layout(self, new: Sequence[LoadedFile], known: Sequence[Column]) -> Layout:
        if not self._header:
            if not self.options.schema:
                raise QueryError(
                    "CSV files without a header do not name their columns",
                    hint='declare them: read.options.schema: "id BIGINT, name STRING"',
                )
            return Layout(_declared(self.options.schema), _words(0, (), self.options, ()))
        headers = asked_at_once(self.header, new)
        names = list(dict.fromkeys(name for header in headers for name in header))
        if self.options.schema:
            declared = [name for name, _ in self.options.schema]
            for one, header in zip(new, headers, strict=True):
                self._check(one, header, declared)
            return Layout(_declared(self.options.schema), _words(0, (), self.options, ()))
        there = {column.name: column.type for column in known}
        types = {name: there[name] for name in names if name in there} | {
            name: kind for name, kind in self.options.types.items() if name in names
        }
        if strays := [name for name in self.options.types if name not in names]:
            raise QueryError(
                f"read.options.types declares {', '.join(strays)}, and no file has such a column",
                hint=f"their columns are {', '.join(names)}",
            )
        open_ones = [name for name in names if name not in types]
        sampled = [one for one, header in zip(new, headers, strict=True) if set(open_ones) & set(header)]
        sampled = _spread(sampled)
        guessed = self._guess(sampled, open_ones)
        fields = [
            pa.field(name, arrow_type(types[name]) if name in types else guessed[name]) for name in names
        ]
        kept = [name for name in names if name in there and name not in self.options.types]
        return Layout(
            pa.schema(fields),
            _words(len(sampled), open_ones, self.options, kept),
            _lacking(names, headers),
        )

    def _check(self, one: LoadedFile, header: Sequence[str], declared: Sequence[str]) -> None:
        missing = [name for name in declared if name not in header]
        others = [name for name in header if name not in declared]
        if missing or others:
            told = [f"it lacks {', '.join(missing)}"] if missing else []
            told += [f"it has {', '.join(others)}"] if others else []
            raise QueryError(
                f"{one.path} does not fit its columns, as read.options.schema declares them: {' and '.join(told)}",
                hint="declare the file's own columns, or read files of another form by a load of their own",
            )

    def header(self, one: LoadedFile) -> tuple[str, ...]:
        """The columns that a file names in its first line."""
        if one.path in self._headers:
            return self._headers[one.path]
        try:
            with self._stream(one.path) as stream:
                raw = b""
                while b"\n" not in raw and (more := stream.read(1 << 16)):
                    raw += more
            text = raw.decode(self._codec, errors="replace")
        except (OSError, pa.ArrowException, LookupError) as error:
            raise _failed(one.path, error, "check the file, and read.options.encoding") from error
        quote = str(self.options.reader.get("quote", '"'))
        names = next(text_csv.reader(io.StringIO(text), delimiter=self._sep, quotechar=quote), [])
        seen = Counter(name.lower() for name in names)
        if bad := [name or "(no name)" for name in names if seen[name.lower()] > 1 or not name]:
            raise QueryError(
                f"{one.path}: the header has columns without a name of their own: {', '.join(dict.fromkeys(bad))}",
                hint="mend the header; for files without one write read.options.header: false and a schema",
            )
        self._headers[one.path] = tuple(names)
        return tuple(names)

    @property
    def _codec(self) -> str:
        return "utf-8-sig" if self._encoding.lower().replace("-", "") == "utf8" else self._encoding

    def _guess(self, sampled: Sequence[LoadedFile], names: Sequence[str]) -> dict[str, pa.DataType]:
        found: dict[str, pa.DataType] = dict.fromkeys(names, pa.null())
        if not names:
            return {}
        for one in sampled:
            raw, cut = self._beginning(one)
            here = [name for name in names if name in self.header(one)]
            told = self._parse(one, raw, here, {}, cut=cut)
            texts = self._parse(one, raw, here, dict.fromkeys(here, pa.string()), cut=cut)
            for name in here:
                kind = _exact(told.column(name).type, texts.column(name))
                found[name] = _wider(found[name], kind)
        return {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in found.items()}

    def _beginning(self, one: LoadedFile) -> tuple[bytes, bool]:
        try:
            with self._stream(one.path) as stream:
                raw = stream.read(SAMPLED_BYTES)
        except (OSError, pa.ArrowException) as error:
            raise _failed(one.path, error, "check the file") from error
        if len(raw) < SAMPLED_BYTES:
            return raw, False
        return raw[: raw.rfind(b"\n") + 1] or raw, True

    def _parse(
        self, one: LoadedFile, raw: bytes, names: list[str], types: Mapping[str, pa.DataType], *, cut: bool
    ) -> pa.Table:
        from pyarrow import csv

        read, parse, convert = self._told(names, types)
        if cut:
            parse.invalid_row_handler = lambda _row: "skip"  # the sample may end amid a row
        try:
            return csv.read_csv(
                pa.BufferReader(raw), read_options=read, parse_options=parse, convert_options=convert
            )
        except pa.ArrowException as error:
            raise self._misfit(one, error) from error

    def _told(
        self, names: list[str], types: Mapping[str, pa.DataType], *, threads: bool = True
    ) -> tuple[Any, Any, Any]:
        """What pyarrow is told."""
        from pyarrow import csv

        given = self.options.reader
        read = csv.ReadOptions(
            use_threads=threads,
            block_size=_BLOCK,
            encoding=self._encoding,
            column_names=None if self._header else [name for name, _ in self.options.schema],
        )
        parse = csv.ParseOptions(
            delimiter=self._sep,
            quote_char=str(given.get("quote", '"')),
            escape_char=str(given["escape"])
            if given.get("escape") not in (None, given.get("quote", '"'))
            else False,
            newlines_in_values=True,
        )
        formats = given.get("timestamp_formats")
        convert = csv.ConvertOptions(
            column_types=dict(types),
            include_columns=names,
            include_missing_columns=True,
            null_values=list(given.get("null_values", ("",))),  # type: ignore[call-overload]  # checked by FileOptions
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            decimal_point=str(given.get("decimal", ".")),
            timestamp_parsers=[*formats, csv.ISO8601] if isinstance(formats, tuple) else None,
        )
        return read, parse, convert

    def batches(self, one: LoadedFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._rows(one, schema, threads=True)
        except pa.ArrowException as error:
            raise self._misfit(one, self._located(one, schema, error)) from error

    def _rows(self, one: LoadedFile, schema: pa.Schema, *, threads: bool) -> Iterator[pa.RecordBatch]:
        from pyarrow import csv

        types = {each.name: each.type for each in schema}
        read, parse, convert = self._told(list(schema.names), types, threads=threads)
        with (
            self._stream(one.path) as stream,
            csv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert) as reader,
        ):
            for batch in reader:
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

    def _located(self, one: LoadedFile, schema: pa.Schema, error: Exception) -> Exception:
        """The error once more with the row that it is of, which pyarrow tells on one thread only."""
        if "Row #" in str(error):
            return error
        try:
            for _ in self._rows(one, schema, threads=False):
                pass
        except pa.ArrowException as again:
            found: Exception = again
            return found
        return error

    def _misfit(self, one: LoadedFile, error: Exception) -> QueryError:
        text = clean_message(error, 400)
        column = re.search(r"In CSV column #(\d+): ?", text)
        row = re.search(r"Row #(\d+): ?", text)
        name = ""
        if column:
            names = self.header(one) if self._header else [each for each, _ in self.options.schema]
            at = int(column[1])
            name = f", column {names[at]}" if at < len(names) else ""
            text = text.replace(column[0], "")
        where = f", line {row[1]}" if row else ""
        text = text.replace(row[0], "") if row else text
        text = text.replace("CSV conversion error to ", "no value of the type ").replace(
            "CSV parse error: ", ""
        )
        if column:
            hint = "mend the file, or declare the column: read.options.types: {column: string}"
        else:
            hint = "mend the file; read.options has sep, quote, escape, header and encoding for other forms of CSV"
        return QueryError(f"{one.path}{where}{name} does not fit its columns: {text}", hint=hint)


def _exact(kind: pa.DataType, texts: pa.ChunkedArray) -> pa.DataType:
    """The inferred type, or text where a value would not come back as it was written."""
    checks = pa.types
    if checks.is_integer(kind) or checks.is_floating(kind):
        for text in texts.to_pylist():
            if text is None:
                continue
            digits = re.sub(r"[eE].*|\D", "", text).lstrip("0")
            if _LEADING_ZERO.match(text) or (checks.is_floating(kind) and len(digits) > _EXACT_DIGITS):
                return pa.string()
        return kind
    if checks.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if checks.is_time(kind) or checks.is_duration(kind) or checks.is_dictionary(kind):
        return pa.string()
    return kind


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """A type that holds the values of both."""
    checks = pa.types
    if one.equals(other) or checks.is_null(other):
        return one
    if checks.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if checks.is_date(one) and checks.is_timestamp(other) and not other.tz:
        return other
    if checks.is_date(other) and checks.is_timestamp(one) and not one.tz:
        return one
    return pa.string()


class JsonReader(FileReader):
    """JSON lines: one object a line."""

    __slots__ = ()

    def layout(self, new: Sequence[LoadedFile], known: Sequence[Column]) -> Layout:
        if self.options.schema:
            return Layout(_declared(self.options.schema), _words(0, (), self.options, ()))
        sampled = _spread(new)
        schemas = [self._sample(one) for one in sampled]
        try:
            found = pa.unify_schemas([each for each in schemas if each], promote_options="permissive")
        except pa.ArrowException as error:
            raise QueryError(
                f"the files' fields do not go together: {clean_message(error, 300)}",
                hint="declare them: read.options.types: {field: string}",
            ) from error
        there = {column.name: column.type for column in known}
        names = [*found.names, *(name for name in there if name not in found.names)]
        names += [name for name in self.options.types if name not in names]
        if self.options.file_column in names:
            names.remove(self.options.file_column)
        types = {name: there[name] for name in names if name in there} | dict(self.options.types)
        fields = [
            pa.field(name, arrow_type(types[name]) if name in types else _plain(found.field(name).type))
            for name in names
        ]
        guessed = [name for name in names if name not in types]
        kept = [name for name in names if name in there and name not in self.options.types]
        return Layout(pa.schema(fields), _words(len(sampled), guessed, self.options, kept))

    def _sample(self, one: LoadedFile) -> pa.Schema | None:
        from pyarrow import json

        try:
            with self._stream(one.path) as stream:
                raw = stream.read(SAMPLED_BYTES)
            if len(raw) == SAMPLED_BYTES:
                raw = raw[: raw.rfind(b"\n") + 1] or raw
            if not raw.strip():
                return None
            read = json.ReadOptions(block_size=len(raw) + 1)
            found = json.read_json(pa.BufferReader(raw), read_options=read).schema
            times = pa.schema([each.with_type(pa.string()) for each in found if _is_time(each.type)])
            if not times:
                return found
            parse = json.ParseOptions(explicit_schema=times, unexpected_field_behavior="ignore")
            texts = json.read_json(pa.BufferReader(raw), read_options=read, parse_options=parse)
            return pa.schema(
                [
                    each.with_type(_time_of(texts.column(each.name).to_pylist()))
                    if each.name in times.names
                    else each
                    for each in found
                ]
            )
        except (OSError, pa.ArrowException) as error:
            raise self._misfit(one, error) from error

    def batches(self, one: LoadedFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        from pyarrow import json

        # pyarrow's JSON knows no dates, and drops the zone of a time without a word; its cast of texts does neither.
        asked = pa.schema([each.with_type(pa.string()) if _is_time(each.type) else each for each in schema])
        parse = json.ParseOptions(explicit_schema=asked, unexpected_field_behavior="error")
        try:
            with self._stream(one.path) as stream:
                if not one.size:
                    return
                with json.open_json(
                    stream, read_options=json.ReadOptions(block_size=_BLOCK), parse_options=parse
                ) as reader:
                    for batch in reader:
                        arrays = [
                            batch.column(each.name).cast(each.type)
                            if _is_time(each.type)
                            else cast_array(batch.column(each.name), each.type, each.name)
                            for each in schema
                        ]
                        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        except (pa.ArrowException, SchemaMismatchError) as error:
            raise self._misfit(one, error) from error

    def _misfit(self, one: LoadedFile, error: Exception) -> QueryError:
        text = error.message if isinstance(error, HwmError) else clean_message(error, 300)
        row = re.search(r" in row (\d+)$", text)
        hint = "mend the file, or declare the field: read.options.types: {field: string}"
        if "from object to array" in text:
            hint = "write JSON lines: one object a line, without a list around them"
        elif "unexpected field" in text:
            hint = "the first lines do not hold all fields: declare them, read.options.types: {field: long}"
        where = f", row {int(row[1]) + 1} of a block" if row else ""
        text = text[: row.start()] if row else text
        return QueryError(f"{one.path}{where} does not fit its columns: {text}", hint=hint)


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _time_of(texts: Sequence[str | None]) -> pa.DataType:
    """The type of times by their texts: with a zone, without one, or text where some have one."""
    zoned = {bool(_ZONE.search(text)) for text in texts if text is not None}
    if len(zoned) > 1:
        return pa.string()
    return pa.timestamp("us", "UTC" if zoned == {True} else None)


def _plain(kind: pa.DataType) -> pa.DataType:
    """An inferred type as Delta Lake has it."""
    checks = pa.types
    if checks.is_null(kind):
        return pa.string()
    return arrow_type(delta_type(_without_nulls(kind)))


def _without_nulls(kind: pa.DataType) -> pa.DataType:
    checks = pa.types
    if checks.is_null(kind):
        return pa.string()
    if checks.is_struct(kind):
        return pa.struct([pa.field(each.name, _without_nulls(each.type)) for each in kind])
    if checks.is_list(kind):
        return pa.list_(_without_nulls(kind.value_type))
    # Within a struct or a list nobody would see a zone that is dropped.
    return pa.string() if checks.is_timestamp(kind) and not kind.tz and kind.unit == "s" else kind


class ParquetReader(FileReader):
    """Parquet files, whose footers tell their columns."""

    __slots__ = ()

    def _open(self, one: LoadedFile) -> Any:
        from pyarrow import parquet

        try:
            source = self.files.open(one.path)
            footer = parquet.read_metadata(source)
            # Nanoseconds end in the year 2262, and Spark keeps none.
            unit = "us" if _SPARK in (footer.metadata or {}) else None
            return parquet.ParquetFile(source, metadata=footer, coerce_int96_timestamp_unit=unit)
        except (OSError, pa.ArrowException) as error:
            raise _failed(
                one.path, error, "its end is missing or it is no Parquet file: write it anew, or move it away"
            ) from error

    def _footer(self, one: LoadedFile) -> pa.Schema:
        with self._open(one) as file:
            return file.schema_arrow.remove_metadata()

    def layout(self, new: Sequence[LoadedFile], known: Sequence[Column]) -> Layout:
        del known
        schemas = asked_at_once(self._footer, new)
        if self.options.schema or self.options.types:
            raise QueryError(
                "Parquet files tell their own types", hint="leave read.options.schema and types away"
            )
        together = schemas[0]
        for one, schema in zip(new, schemas, strict=True):
            try:
                together = pa.unify_schemas([together, schema], promote_options="permissive")
            except pa.ArrowException as error:
                raise _failed(
                    one.path, error, "its columns are of other types than the other files': load them apart"
                ) from error
        fields = [
            pa.field(each.name, pa.string() if pa.types.is_null(each.type) else each.type)
            for each in together
        ]
        count = "the file's own footer" if len(new) == 1 else f"the footers of all {len(new):,} files"
        lacking = _lacking(together.names, (schema.names for schema in schemas))
        return Layout(pa.schema(fields), f"as {count} say", lacking)

    def batches(self, one: LoadedFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._open(one) as file:
            there = set(file.schema_arrow.names)
            wanted = [name for name in schema.names if name in there]
            try:
                for batch in parquet_batches(file, wanted):
                    arrays = [
                        cast_array(batch.column(each.name), each.type, each.name)
                        if each.name in there
                        else pa.nulls(batch.num_rows, each.type)
                        for each in schema
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            except (OSError, pa.ArrowException) as error:
                raise _failed(
                    one.path, error, "the file is damaged: write it anew, or move it away"
                ) from error
            except SchemaMismatchError as error:
                raise QueryError(f"{one.path}: {error.message}", hint=error.hint) from error
