"""Writes the tables of docs/reference.md: parameters, from their models and dvc.yaml, and the commands' options.

.venv/bin/python -m benchmarks.studies.reference
"""

import argparse
import importlib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from benchmarks.pages import write_section
from benchmarks.processes import PROJECT
from benchmarks.task import PARAMETERS
from quadrature.__main__ import COMMANDS
from quadrature.network.params import ModelParams
from quadrature.plotting.params import PlotParams
from quadrature.posterior.params import TargetsParams
from quadrature.scoring.params import EvaluateParams
from quadrature.signals.params import GenerateParams
from quadrature.training.params import TrainParams

PAGE = PROJECT / "docs/reference.md"
SECTIONS = {
    "generate": GenerateParams,
    "targets": TargetsParams,
    "model": ModelParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "plot": PlotParams,
}


def parameters() -> str:
    """Returns the table of parameters."""
    tree = yaml.safe_load(PARAMETERS.read_text())
    words = _comments(PARAMETERS.read_text())
    rows = ["| parameter | default | values | what it is | runs again |", "|---|---|---|---|---|"]
    rows += [_row("device", "auto", "`auto`, `cpu`, `cuda`, `mps`", words["device"])]
    for section, model in SECTIONS.items():
        schema = model.model_json_schema()
        for name, value in tree[section].items():
            values = _values(schema["properties"][name], schema.get("$defs", {}))
            path, default = f"{section}.{name}", yaml.safe_dump(value, default_flow_style=True, sort_keys=False)
            rows.append(_row(path, default, values, words[path]))
    return "\n".join(rows)


def _comments(text: str) -> dict[str, str]:
    """Returns the comment on each parameter's line of params.yaml, by dotted path."""
    found, section = {}, ""
    for line in text.splitlines():
        if part := re.match(r"(\s*)(\w+):(.*?)(?:#\s+(.*))?$", line):
            indent, name, _, words = part.groups()
            section = section if indent else name
            found[f"{section}.{name}" if indent else name] = words or ""
    return found


def _row(path: str, default: str, values: str, words: str) -> str:
    default = default.strip().removesuffix("...").strip()
    return f"| `{path}` | {default} | {values} | {words.replace(' | ', ', ')} | {_first_stage(path)} |"


def _first_stage(path: str) -> str:
    """Returns the first stage after check that runs again if a parameter changes, a part of which it may declare."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        if name == "check":
            continue
        for declared in stage["params"]:
            if path == declared or path.startswith(f"{declared}."):
                return f"from {name}"
    return "none"


def _values(schema: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Returns the values that a JSON schema allows."""
    if "anyOf" in schema:
        return ", or ".join(_values(each, models) for each in schema["anyOf"])
    if "$ref" in schema:
        parts = models[schema["$ref"].rpartition("/")[2]]["properties"]
        kinds = {_values(each, models) for each in parts.values()}
        return f"each: {kinds.pop()}" if len(kinds) == 1 else "; ".join(sorted(kinds))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    match schema["type"]:
        case "array":
            return f"a list, each {_values(schema['items'], models)}"
        case "boolean":
            return "`true`, `false`"
        case "integer" | "number" as kind:
            return f"{'whole number' if kind == 'integer' else 'number'}{_bounds(schema)}"
        case "string":
            return "text"
        case other:
            return str(other)


def _bounds(schema: Mapping[str, Any]) -> str:
    limits = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    return "".join(f" {word} {_number(schema[key])}" for key, word in limits.items() if key in schema)


def _number(value: float) -> str:
    power = math.log2(value) if value >= 2.0**20 else 0.5
    return f"2^{power:g}" if power.is_integer() else f"{value:,g}" if value < 10**6 else f"{value:,}"


def commands() -> str:
    """Returns a section for each command: what it does, and its options."""
    return "\n\n".join(_command(name, summary) for name, summary in COMMANDS.items())


def _command(name: str, summary: str) -> str:
    parser = argparse.ArgumentParser(prog=name, add_help=False)
    importlib.import_module(f"quadrature.commands.{name}").add_arguments(parser)
    rows = [f"| {' '.join(words)} | {help_} |" for words, help_ in _options(parser)]
    table = ["", "| option | what it is |", "|---|---|", *rows] if rows else []
    return "\n".join([f"### {name}", "", f"{summary[0].upper()}{summary[1:]}.", *table])


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[list[str], str]]:
    for action in parser._actions:
        names = action.option_strings or [action.dest.upper()]
        shown = "" if not action.choices else f" ({', '.join(map(str, action.choices))})"
        yield [f"`{name}`" for name in names], f"{(action.help or '') % vars(action)}{shown}".replace("|", "or")


def main() -> None:
    write_section(PAGE, "parameters", parameters())
    write_section(PAGE, "commands", commands())


if __name__ == "__main__":
    main()
