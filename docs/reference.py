"""The reference pages, made from what the code declares: nothing in them is typed by hand."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer.main
from pydantic import BaseModel
from typer.core import TyperGroup

from evaluation.cli import build
from evaluation.config import RunConfig
from evaluation.datasets.card import DatasetCard
from evaluation.metrics.catalogue import metrics_table
from evaluation.models.card import ModelCard
from evaluation.schema import TABLES


def pages() -> dict[str, str]:
    """File name -> Markdown of every page of the reference."""
    return {
        "commands.md": _page("Commands", _commands(typer.main.get_command(build()), "satbench")),
        "configuration.md": _page("Configuration and cards", _records()),
        "tables.md": _page("Tables and their columns", _tables()),
        "metrics.md": _page("Metrics", _metrics()),
    }


def _page(title: str, blocks: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", *blocks]) + "\n"


def _commands(command: Any, name: str) -> Iterator[str]:
    """A command with its arguments and options, then those of its group, in the help's order."""
    if command.hidden:
        return
    yield f"## {name}"
    if command.help:
        yield inspect.cleandoc(command.help).replace("\b", "")
    rows = []
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        if parameter.param_type_name == "argument":
            spelled = (parameter.metavar or parameter.name).upper()
        else:
            spelled = " ".join([*parameter.opts, *parameter.secondary_opts])
        default = "" if callable(parameter.default) else parameter.default
        if getattr(parameter, "is_flag", False) and default is False:
            default = ""
        shown = "required" if parameter.required else _value(default)
        rows.append((f"`{spelled}`", shown, getattr(parameter, "help", "") or ""))
    if rows:
        yield _table(("argument or option", "default", "what it does"), rows)
    if isinstance(command, TyperGroup):
        for sub in command.commands.values():
            yield from _commands(sub, f"{name} {sub.name}")


def _records() -> Iterator[str]:
    titles = {
        RunConfig: "A run's configuration, `config/<run>.yaml`",
        DatasetCard: "A dataset's card, `config/datasets/<id>.yaml`",
        ModelCard: "A model's card, `config/models/<id>.yaml`",
    }
    for record, title in titles.items():
        schema = record.model_json_schema()
        yield f"## {title}"
        yield from _record(record, schema)
        for name, part in schema.get("$defs", {}).items():
            if "properties" in part:
                yield f"### {record.__name__}: {name}"
                yield part.get("description", "").split("\n\n")[0].replace("\n", " ")
                yield _keys(part)


def _record(record: type[BaseModel], schema: dict[str, Any]) -> Iterator[str]:
    yield inspect.cleandoc(record.__doc__ or "")
    yield _keys(schema)


def _keys(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    return _table(
        ("key", "type", "default", "meaning"),
        [
            (
                f"`{key}`",
                _kind(value),
                "required" if key in required else _value(value.get("default")),
                value.get("description", ""),
            )
            for key, value in schema["properties"].items()
        ],
    )


def _kind(schema: dict[str, Any]) -> str:
    """A JSON Schema's type in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for either in ("anyOf", "oneOf", "allOf"):
        if either in schema:
            return " or ".join(_kind(part) for part in schema[either])
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {_kind(items)}" if items else "list"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"mapping to {_kind(schema['additionalProperties'])}"
    return str(schema.get("type", "any"))


def _tables() -> Iterator[str]:
    yield "`satbench dictionary` prints the same as CSV; the Parquet files carry it with them."
    for table in TABLES.values():
        yield f"## {table.name}"
        yield f"One row: {table.row}."
        rows = [
            (f"`{c.name}`", c.type, c.unit, ", ".join(f"`{a}`" for a in c.allowed), c.description)
            for c in table.columns
        ]
        yield _table(("column", "type", "unit", "values", "meaning"), rows)


def _metrics() -> Iterator[str]:
    yield (
        "`satbench metrics` prints this list. Parameters stand behind the name, such as `nsd@0.5` "
        "or `hd99`; [Numbers](../numbers.md) says what is common to them."
    )
    table = metrics_table()
    yield _table(list(table.columns), [tuple(row) for row in table.itertuples(index=False)])


def _value(value: object) -> str:
    return "" if value is None or value == "" or str(value) == "[]" else f"`{value}`"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|")
    # Outside of code, `<id>` would be taken for an element of the page.
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("[", "\\[") for part in parts[::2]]
    return "`".join(parts)
