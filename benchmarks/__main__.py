"""``python -m benchmarks``: run the comparisons and write ``benchmarks/results/<name>.json`` for ``make tables``."""

from __future__ import annotations

import functools
from pathlib import Path

import click

from benchmarks.growth import growth
from benchmarks.not_sure import not_sure
from benchmarks.pairs import QUIET, alternate, busy_cores
from benchmarks.speed import COMPARISONS
from transfer_utils.utils.files import write_json
from transfer_utils.utils.machine import machine, versions
from transfer_utils.utils.revision import source_revision

RESULTS = Path(__file__).parent / "results"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice([*COMPARISONS, "growth", "not_sure"]))
@click.option("--data_dir", default="", help="CIFAR-10 as an image folder, instead of a download")
@click.option("--runs", default="runs", show_default=True, help="folder of the runs that not_sure uses, or trains")
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="times that each side runs; growth and not_sure, which compare nothing, run once",
)
@click.option(
    "--max_wait",
    default=300.0,
    show_default=True,
    type=click.FloatRange(0),
    help=f"seconds to wait before each side until less than {QUIET:g} cores are busy; 0 does not wait",
)
@click.option("--output", default=RESULTS, type=click.Path(path_type=Path), help="folder of the JSON files")
def main(names: tuple[str, ...], data_dir: str, runs: str, rounds: int, max_wait: float, output: Path) -> None:
    """Measure NAMES (all but not_sure by default) against plain Keras, in turn, and write the results."""
    measure = functools.partial(alternate, rounds=rounds, max_wait=max_wait)
    others = {
        "growth": functools.partial(growth, data_dir, max_wait),
        "not_sure": functools.partial(not_sure, data_dir, runs),
    }
    for name in names or (*COMPARISONS, "growth"):
        about = {"source": source_revision(), "machine": machine(), "versions": versions()}
        about["load_before"] = round(busy_cores(), 2)
        if name in others:
            write_json(output / f"{name}.json", {"rows": others[name](), **about})
            continue
        click.echo(f"{name}: {COMPARISONS[name].__doc__.splitlines()[0]}")
        rows = COMPARISONS[name](data_dir, measure)
        for row in rows:
            spread = row["ratio"]
            click.echo(
                f"{row['what']} against {row['against']}: {row['plain']:.3g} and {row['ours']:.3g} {row['unit']}, "
                f"{spread['median']:.1f} times ({spread['low']:.1f} to {spread['high']:.1f})"
            )
        write_json(output / f"{name}.json", {"rows": rows, **about, "rounds": rounds})


if __name__ == "__main__":
    main()
