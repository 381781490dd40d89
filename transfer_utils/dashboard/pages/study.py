"""The page "Study": the six stages of the recipe, each drawn from the runs that are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import plotly.graph_objects as go
import streamlit as st

from transfer_utils.dashboard import option_charts, study_charts, style
from transfer_utils.dashboard.store import View
from transfer_utils.results.formatting import points
from transfer_utils.results.groups import Family, RunGroup, families, group_by_configuration
from transfer_utils.results.options import REPEATS
from transfer_utils.results.table import Row, differing

STUDY_COMMAND = "transfer-utils sweep studies/six_stages.yaml"
MOST_FAMILIES, MAX_BARS = 6, 8
METRICS = {"validation": "val", "test": "test"}


class Finding(NamedTuple):
    """A chart and what it says in one sentence."""

    figure: go.Figure
    says: str


class Question(NamedTuple):
    """One question of the study, and how runs and a split (``val`` or ``test``) answer it; None when they cannot."""

    title: str
    asks: str
    answer: Callable[[list[Row], str], Finding | None]


def draw(view: View) -> None:
    """Draw the page."""
    dataset, split = _choose(view)
    rows = [row for row in view.rows if row.dataset == dataset]
    # Nine charts over hundreds of runs take a while to make.
    answered = view.keep(
        ("answers", dataset, split),
        lambda: [(question, question.answer(rows, split)) for question in QUESTIONS],
    )
    drawn = [(question, finding) for question, finding in answered if finding]
    for start in range(0, len(drawn), 2):
        pair = drawn[start : start + 2]
        for place, (question, finding) in zip(st.columns(2), pair, strict=False):
            with place.container(border=True, height="stretch"):
                _draw_finding(question, finding)
    _draw_other_option(view, rows, dataset, split)
    _say_what_is_missing([question.title for question, finding in answered if finding is None])


def _choose(view: View) -> tuple[str | None, str]:
    """Draw the controls; return the chosen data (None without any finished run), and ``val`` or ``test``."""
    left, right, _ = st.columns([2, 2, 3], vertical_alignment="top")
    datasets = list(dict.fromkeys(row.dataset for row in view.rows if row.metric("val_end2end") is not None))
    dataset = left.selectbox("Data", datasets, key="study_data", bind="query-params", placeholder="no finished run")
    split = right.segmented_control(
        "Accuracy", list(METRICS), default="validation", required=True, key="split", bind="query-params"
    )
    return dataset, METRICS[split]


def _draw_finding(question: Question, finding: Finding) -> None:
    st.subheader(question.title)
    st.caption(question.asks)
    style.show(finding.figure, f"study {question.title}", question.asks)
    st.text(finding.says)


def _other_options(rows: list[Row]) -> list[str]:
    """Return the options that some runs vary on their own and that no question asks about."""
    return [name for name in differing(rows) if name not in REPEATS | ASKED and families(rows, name)]


def _draw_other_option(view: View, rows: list[Row], dataset: str | None, split: str) -> None:
    """Let the reader look at any further option that the rows, those on ``dataset``, vary on its own."""
    others = view.keep(("other options", dataset), lambda: _other_options(rows))
    if not others:
        return
    with st.container(border=True):
        st.subheader("Any other option")
        option = st.selectbox("Option", others, key="option", bind="query-params", label_visibility="collapsed")
        finding = view.keep(("effect", dataset, split, option), lambda: _vary(option)(rows, split))
        if finding is None:
            st.caption("No run has this accuracy yet.")
            return
        style.show(finding.figure, f"study {option}", f"Accuracy by {option}, all else being equal")
        st.text(finding.says)


def _say_what_is_missing(titles: list[str]) -> None:
    if titles:
        st.caption(f"No runs yet that answer: {' · '.join(titles)}. On CIFAR-10, most of them come with")
        st.code(STUDY_COMMAND, language=None)


def _vary(option: str) -> Callable[[list[Row], str], Finding | None]:
    """Return an answer from runs that are equal but for one option and the seed."""

    def answer(rows: list[Row], split: str) -> Finding | None:
        found = [family for family in families(rows, option) if _known(family, split)][:MOST_FAMILIES]
        if not found:
            return None
        says = _highest_and_lowest(found[0], split) + _diverged(found, option, rows)
        return Finding(study_charts.one_option(found, option, split), says)

    return answer


def _known(family: Family, split: str) -> list[RunGroup]:
    """Return the groups that have the accuracy in question, from the lowest to the highest."""
    metric = f"{split}_end2end"
    return sorted((group for group in family.groups if group.values(metric)), key=lambda group: group.mean(metric))


def _highest_and_lowest(family: Family, split: str) -> str:
    known = _known(family, split)
    told = [f"{group.name}, {group.shown(f'{split}_end2end')}" for group in (known[-1], known[0])]
    said = f"Highest: {told[0]}. Lowest: {told[1]}" if len(known) > 1 else f"Only: {told[0]}"
    return said + (f" ({family.name})." if family.name else ".")


def _diverged(found: list[Family], option: str, rows: list[Row]) -> str:
    """Name the values at which a run of the drawn families diverged, and so has no point in the chart."""
    drawn = {group.rows[0].without(option) for family in found for group in family.groups}
    lost = {row.options.get(option, "") for row in rows if row.status == "diverged" and row.without(option) in drawn}
    return f" Diverged: {', '.join(sorted(lost))}." if lost else ""


def _start(rows: list[Row], split: str) -> Finding | None:
    """Set the network from scratch beside the frozen one, both trained on all labels."""
    known = [row for row in rows if row.labels in ("all", "–") and row.metric(f"{split}_end2end") is not None]
    pretrained = [row for row in known if not row.from_scratch]
    kinds = [row for row in known if row.from_scratch], [row for row in pretrained if not row.fine_tunes]
    if not all(kinds):
        return None
    metric = f"{split}_end2end"
    scratch, frozen = (_best_few(kind, metric, MAX_BARS // 2) for kind in kinds)
    gain = 100 * (frozen[0].mean(metric) - scratch[0].mean(metric))
    says = f"Frozen features: {points(gain)} over the network from scratch."
    groups = group_by_configuration([row for group in scratch + frozen for row in group.rows])
    return Finding(option_charts.results(groups, ("train", split)), says)


def _average_views(rows: list[Row], split: str) -> Finding | None:
    averaged, plain = f"{split}_tta", f"{split}_end2end"
    tried = [row for row in rows if row.metric(averaged) is not None and row.metric(plain) is not None]
    if not tried:
        return None
    mean = sum(100 * (row.metric(averaged) - row.metric(plain)) for row in tried) / len(tried)
    says = f"{points(mean)} on average over {_runs(tried)}."
    return Finding(study_charts.averaging_views(_best_few(tried), split), says)


def _stop_early(rows: list[Row], split: str) -> Finding | None:
    stopped = [row for row in rows if row.status == "completed" and 0 < row.epochs < row.planned]
    if not stopped:
        return None
    share = sum(row.epochs for row in stopped) / sum(row.planned for row in stopped)
    says = f"{_runs(stopped)} stopped early, after {100 * share:.0f} % of the epochs planned."
    return Finding(study_charts.epochs_used(_best_few(stopped)), says)


def _runs(rows: list[Row]) -> str:
    return "1 run" if len(rows) == 1 else f"{len(rows)} runs"


def _best_few(rows: list[Row], metric: str = "val_end2end", most: int = MAX_BARS) -> list[RunGroup]:
    """Return the configurations of highest validation accuracy, or other metric, named by what sets them apart."""
    groups = sorted(group_by_configuration(rows), key=lambda group: -(group.mean(metric) or 0))
    return group_by_configuration([row for group in groups[:most] for row in group.rows])


QUESTIONS = (
    Question("1 · Start", "What do frozen features give? Training beside the split shows the overfitting.", _start),
    Question("2 · Optimizer of the head", "Does it matter while the backbone is frozen?", _vary("optimizer_stage1")),
    Question("3 · Unfreezing depth", "How many of the last layers should stage 2 train?", _vary("n_unfreeze")),
    Question("4 · Learning rate", "Where does it forget, and where does it learn?", _vary("learning_rate_stage2")),
    Question("5 · Augmentation", "What do images that are drawn anew add?", _vary("augment")),
    Question("6 · Averaged views", "What does test-time augmentation add?", _average_views),
    Question("6 · Early stopping", "How many epochs does it save?", _stop_early),
    Question("Label efficiency", "Where does transfer pay, and where no more?", _vary("labels_per_class")),
    Question("Image size", "What does a larger input buy?", _vary("image_size")),
)
ASKED = {"optimizer_stage1", "n_unfreeze", "learning_rate_stage2", "augment", "labels_per_class", "image_size"}
