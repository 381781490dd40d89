"""What each option does, all else being equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from transfer_utils.errors import UserError
from transfer_utils.palette import SERIES
from transfer_utils.plotting.style import PERCENT, WIDTH, plain, ruled, styled
from transfer_utils.records import RunRecord


@styled
def plot_option_effects(effects: Mapping[str, Mapping[str, Sequence[RunRecord]]]) -> Figure:
    """Draw the validation accuracy for each value of each option: a point a run, a bar for its 95 % interval.

    Args:
        effects: by option, by value in words, the runs that had it and were otherwise alike.

    Raises:
        UserError: there is no option, or an option without values.
    """
    if not effects or not all(effects.values()):
        raise UserError("effects must hold at least one option, each with at least one value")
    heights = [len(values) for values in effects.values()]
    figure = Figure((WIDTH, 0.42 * sum(heights) + 0.45 * len(heights) + 0.6), layout="constrained")
    panels = figure.subplots(len(effects), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (option, values), colour in zip(panels, effects.items(), SERIES * len(heights), strict=False):
        for place, records in enumerate(values.values()):
            for number, record in enumerate(records):
                _draw_run(axes, place + 0.24 * (number - (len(records) - 1) / 2), record, colour)
        axes.set_yticks(range(len(values)), [plain(name, 40) for name in values])
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.set_title(plain(option, 40))
        ruled(axes)
        axes.grid(False, axis="y")
    panels[-1].xaxis.set_major_formatter(PERCENT)
    panels[-1].set_xlabel("validation accuracy, with the 95 % interval of each run")
    return figure


def _draw_run(axes, height: float, record: RunRecord, colour: str) -> None:
    value, low, high = (record.metrics.get(name) for name in ("val_end2end", "val_low", "val_high"))
    if value is None:
        return
    reach = None if low is None or high is None else [[value - low], [high - value]]
    axes.errorbar([value], [height], xerr=reach, fmt="o", color=colour, capsize=3, linewidth=1.2)
