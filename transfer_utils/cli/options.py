"""The flags of a command that does a run: one for every option of ``RunConfig``, in its groups."""

from __future__ import annotations

from typing import Any

import click

from transfer_utils.config import RunConfig


class GroupedCommand(click.Command):
    """A command whose help lists the options of a run under the groups that ``RunConfig`` gives them."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row:
                field = RunConfig.model_fields.get(parameter.name or "")
                groups.setdefault(field.json_schema_extra["group"] if field else "command", []).append(row)
        for name, rows in groups.items():
            with formatter.section(f"Options: {name}"):
                formatter.write_dl(rows)


def run_options(command: Any) -> Any:
    """Add a flag for every option of ``RunConfig``, ``--quiet`` and ``--debug``; ``a_b`` may be written ``a-b``."""
    for name, field in reversed(RunConfig.model_fields.items()):
        declarations = [f"--{name}"] + ([f"--{name.replace('_', '-')}"] if "_" in name else [])
        flag = field.annotation is bool
        if flag:
            declarations = [f"{on}/--no-{on[2:]}" for on in declarations]
        default = field.default if field.default != "" else "empty"
        unit = field.json_schema_extra["unit"]
        text = f"{field.description} [default: {default}{' ' + unit if unit else ''}]"
        # Without a value of its own, so that the preset's is not overridden; types and limits are RunConfig's to check.
        shape = {} if flag else {"type": str, "metavar": _metavar(field)}
        command = click.option(*declarations, name, default=None, help=text, **shape)(command)
    command = click.option("--debug", is_flag=True, help="show the traceback of an error")(command)
    return click.option("--quiet", is_flag=True, help="print nothing but errors")(command)


def _metavar(field: Any) -> str:
    choices = getattr(field.annotation, "__args__", None)
    return "|".join(choices) if choices else field.annotation.__name__.upper()
