"""``python -m benchmarks``: run the comparisons and write ``benchmarks/results/<name>.json`` for ``make tables``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from benchmarks.speed import COMPARISONS
from transfer_utils.utils.files import write_json
from transfer_utils.utils.machine import machine, versions

RESULTS = Path(__file__).parent / "results"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(list(COMPARISONS)))
@click.option("--data_dir", default="", help="CIFAR-10 as an image folder, instead of a download")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="times that each side runs")
@click.option(
    "--output", default=RESULTS, show_default=False, type=click.Path(path_type=Path), help="folder of the JSON"
)
def main(names: tuple[str, ...], data_dir: str, rounds: int, output: Path) -> None:
    """Measure NAMES (all of them by default) against plain Keras, in turn, and write what came of it."""
    for name in names or COMPARISONS:
        click.echo(f"{name}: {COMPARISONS[name].__doc__.splitlines()[0]}")
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        rows = COMPARISONS[name](data_dir, rounds)
        for row in rows:
            spread = row["ratio"]
            click.echo(
                f"{row['what']} against {row['against']}: {row['plain']:.3g} and {row['ours']:.3g} {row['unit']}, "
                f"{spread['median']:.1f} times ({spread['low']:.1f} to {spread['high']:.1f})"
            )
        # The load tells whether other work was in the way when it began.
        about = {"machine": machine(), "versions": versions(), "load_before": load, "rounds": rounds}
        write_json(output / f"{name}.json", {"rows": rows, **about})


if __name__ == "__main__":
    main()
