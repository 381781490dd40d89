"""Command-line options: a flag for every field of ``RunConfig``, the config that these make, and shared options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import click

from transfer_utils.config.options import RunConfig, preset
from transfer_utils.config.presets import PRESET_PURPOSE
from transfer_utils.errors import UserError

quiet_option = click.option("--quiet", is_flag=True, help="print only errors")
supervised_option = click.option("--supervised", is_flag=True, hidden=True)  # set by what starts child processes
debug_option = click.option("--debug", is_flag=True, expose_value=False, help="show the traceback of an error")


class _Limited:
    """The errors of a number within limits, worded as those of the options of a run."""

    expected = ""

    def convert(self, value: Any, param: click.Parameter, ctx: click.Context | None) -> Any:
        try:
            number = super().convert(value, param, ctx)
            if number != number:  # NaN, which is neither below nor above a limit
                raise click.BadParameter("not a number")
            return number
        except click.BadParameter:
            limits = f"of at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            raise UserError(f"{param.name} must be {self.expected} {limits}, got {str(value)[:80]!r}.") from None


class WholeNumber(_Limited, click.IntRange):
    expected = "a whole number"


class Number(_Limited, click.FloatRange):
    expected = "a number"


class RunCommand(click.Command):
    """A command with the options of a run; its help shows them by group, followed by the presets."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a word that is left over, and suggest what was meant."""
        ctx.allow_extra_args = True
        super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise click.UsageError(f"Unexpected word {ctx.args[0]!r}.{_meant(ctx.args[0])}", ctx)
        return ctx.args

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row:
                field = RunConfig.model_fields.get(parameter.name or "")
                group = field.json_schema_extra["group"] if field else "what"
                sections.setdefault("General" if group == "what" else group.capitalize(), []).append(row)
        sections["Presets"] = list(PRESET_PURPOSE.items())
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def run_options(hidden: Sequence[str] = (), **without_preset: Any) -> Callable[[Callable], Callable]:
    """Add a flag for every field of ``RunConfig``, ``--quiet`` and ``--debug`` to a command.

    Flags that are not given are None, so that they do not override the preset; ``RunConfig`` checks types and limits.

    Args:
        hidden: flags that the command refuses, which its help does not show.
        without_preset: as for ``run_config``.
    """

    def add(command: Callable) -> Callable:
        command = quiet_option(debug_option(command))
        for name, field in reversed(RunConfig.model_fields.items()):
            default = without_preset.get(name, field.default)
            unit = field.json_schema_extra["unit"]
            text = f"{field.description} [default: {'empty' if default == '' else default}{' ' + unit if unit else ''}]"
            settings = {"default": None, "help": text, "hidden": name in hidden}
            if field.annotation is bool:
                command = click.option(f"--{name}/--no-{name}", **settings)(command)
            else:
                metavar = "|".join(get_args(field.annotation)) or field.annotation.__name__.upper()
                command = click.option(f"--{name}", type=str, metavar=metavar, **settings)(command)
        return command

    return add


def run_config(options: dict[str, Any], **without_preset: Any) -> RunConfig:
    """Build the config from the given flags; ``without_preset`` replaces the defaults if no preset is given."""
    options = {name: value for name, value in options.items() if value is not None}
    name = options.pop("preset", "none")
    return preset(name, **({**without_preset, **options} if name == "none" else options))


def photo_config(options: dict[str, Any], models: Sequence[str] = ("transfer",)) -> tuple[RunConfig, str] | None:
    """Return settings that suit an image folder, and the reason, if no preset is given; flags override them.

    The reason says how long training takes, of all ``models``.
    """
    given = {name: value for name, value in options.items() if value is not None}
    photos = given.get("dataset") == "folder" and given.get("data_dir") and given.get("model", "transfer") == "transfer"
    if not photos or "preset" in given:
        return None
    from transfer_utils.data.photo_settings import choose_photo_settings
    from transfer_utils.records.folder import load_runs
    from transfer_utils.results.formatting import duration
    from transfer_utils.studies.cost import Forecast, estimate
    from transfer_utils.utils.text import format_bytes

    chosen = choose_photo_settings(preset("photos", **given))
    config = preset("photos", **{**chosen.options, **given})
    forecast = Forecast(load_runs(config.output_dir).runs)
    sizes = {"images": chosen.images, "n_bytes": chosen.n_bytes}
    seconds = sum(forecast.seconds(config.model_copy(update={"model": model}), **sizes) for model in models)
    needs = f"About {duration(seconds)} and {format_bytes(estimate(config, chosen.images)[1])} of disk"
    return config, f"{chosen.reason(config)} {needs}. Options override these settings, and --preset all of them."


def _meant(word: str) -> str:
    """Return what a word that belongs to no option was probably meant to be."""
    if word in PRESET_PURPOSE:
        return f" Did you mean --preset {word}?"
    if word.lower() in ("yes", "no", "true", "false", "on", "off", "0", "1"):
        return " A switch takes no value: write --augment to turn it on and --no-augment to turn it off."
    return ""
