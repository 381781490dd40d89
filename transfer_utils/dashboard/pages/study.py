"""The page "Study": one chart for each question of the study that the runs of the folder answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import plotly.graph_objects as go
import streamlit as st

from transfer_utils.dashboard import option_charts, state, study_charts, style
from transfer_utils.dashboard.store import View
from transfer_utils.evaluation.percent import points
from transfer_utils.results.groups import Family, RunGroup, dataset_names, describe, families, group_by_configuration
from transfer_utils.results.options import REPEATS
from transfer_utils.results.table import METRICS_OF, Row, differing
from transfer_utils.utils.text import MISSING, counted

STUDY_COMMAND = "transfer-utils sweep studies/six_stages.yaml"
MAX_FAMILIES, MAX_BARS = 6, 8


class Finding(NamedTuple):
    """A chart, its conclusion in one sentence, its marks, and what its runs have in common although others differ."""

    figure: go.Figure
    conclusion: str
    marks: str = ""
    fixed: str = ""


class Question(NamedTuple):
    """One question of the study; ``answer`` takes runs and ``val`` or ``test``, and returns None without an answer."""

    title: str
    text: str
    answer: Callable[[list[Row], str], Finding | None]


def draw(view: View) -> None:
    """Draw the page."""
    names = dataset_names(row for row in view.rows if row.metric("val_end2end") is not None)
    dataset, split = _choose(list(names.values()))
    hidden = frozenset(state.values(state.HIDDEN))
    rows = [row for row in view.rows if dataset and names.get(row.images) == dataset and row.name not in hidden]
    # Nine charts of hundreds of runs take seconds.
    answers = view.cached(
        ("answers", dataset, split, hidden), lambda: [question.answer(rows, split) for question in QUESTIONS]
    )
    answered = list(zip(QUESTIONS, answers, strict=True))
    drawn = [(question, finding) for question, finding in answered if finding]
    for start in range(0, len(drawn), 2):
        pair = drawn[start : start + 2]
        for column, (question, finding) in zip(st.columns(2), pair, strict=False):
            with column.container(border=True, height="stretch"):
                st.subheader(question.title)
                st.caption(question.text)
                _show(finding, f"study {question.title}", question.text)
    _draw_other_option(view, rows, dataset, split)
    unanswered = " · ".join(question.title for question, finding in answered if finding is None)
    if unanswered:
        st.caption(f"No runs answer these questions yet: {unanswered}. For CIFAR-10, this study answers most of them:")
        st.code(STUDY_COMMAND, language=None)


def _show(finding: Finding, name: str, alt: str) -> None:
    style.show_chart(finding.figure, name, alt)
    if finding.marks:
        st.caption(finding.marks)
    st.text(finding.conclusion)
    if finding.fixed:
        st.text(f"Held fixed: {finding.fixed}.")


def _choose(datasets: list[str]) -> tuple[str | None, str]:
    """Draw the controls; return the dataset (None if no run has finished), and ``val`` or ``test``."""
    left, right, _ = st.columns([2, 2, 3], vertical_alignment="top")
    kept = state.kept("study_data", datasets[0] if datasets else None, datasets)
    dataset = left.selectbox("Data", datasets, placeholder="no finished run", **kept)
    return dataset, METRICS_OF[state.choice(right, "Accuracy", list(METRICS_OF), "split")]


def _draw_other_option(view: View, rows: list[Row], dataset: str | None, split: str) -> None:
    """Draw the effect of an option of the reader's choice that some rows vary in isolation, and no question covers."""
    others = view.cached(
        ("other options", dataset, frozenset(state.values(state.HIDDEN))),
        lambda: [name for name in differing(rows) if name not in REPEATS | COVERED and families(rows, name)],
    )
    if not others:
        return
    with st.container(border=True):
        st.subheader("Any other option")
        kept = state.kept("option", others[0], others)
        option = st.selectbox("Option", others, label_visibility="collapsed", **kept)
        key = ("effect", dataset, split, option, frozenset(state.values(state.HIDDEN)))
        finding = view.cached(key, lambda: _vary(option)(rows, split))
        if finding is None:
            st.caption("No run has this accuracy yet.")
            return
        _show(finding, f"study {option}", f"Accuracy by {option}, all else being equal")


def _vary(option: str) -> Callable[[list[Row], str], Finding | None]:
    """Return a function that answers a question from runs that differ only in one option and the seed."""

    def answer(rows: list[Row], split: str) -> Finding | None:
        drawn = [family for family in families(rows, option) if _by_accuracy(family, split)][:MAX_FAMILIES]
        if not drawn:
            return None
        conclusion = _highest_and_lowest(drawn[0], split) + _diverged(drawn, option, rows)
        chart = study_charts.one_option(drawn, option, split)
        return Finding(chart, conclusion, study_charts.BANDS, _held_fixed(drawn, option, rows))

    return answer


def _held_fixed(families: list[Family], option: str, rows: list[Row]) -> str:
    """Describe the options in which the rows differ, but none of those drawn."""
    drawn = [row for family in families for group in family.groups for row in group.rows]
    varied = {option, *differing(drawn)}
    fixed = [name for name in differing(rows) if name not in varied | REPEATS]
    # Some of the rows, such as those with a frozen backbone, may not use an option.
    described = (next((text for row in drawn if (text := describe(row, [name]))), "") for name in fixed)
    return " · ".join(dict.fromkeys(filter(None, described)))


def _by_accuracy(family: Family, split: str) -> list[RunGroup]:
    """Return the groups with an accuracy on this split, from the lowest to the highest."""
    metric = f"{split}_end2end"
    return sorted((group for group in family.groups if group.values(metric)), key=lambda group: group.mean(metric))


def _highest_and_lowest(family: Family, split: str) -> str:
    groups = _by_accuracy(family, split)
    highest, lowest = (
        f"{group.name}, {group.shown(f'{split}_end2end')} ({group.size})" for group in (groups[-1], groups[0])
    )
    text = f"Highest: {highest}. Lowest: {lowest}" if len(groups) > 1 else f"Only: {highest}"
    return text + (f"; {family.name}." if family.name else ".")


def _diverged(families: list[Family], option: str, rows: list[Row]) -> str:
    """Name the values at which a run of these families diverged; such runs have no point in the chart."""
    drawn = {group.rows[0].without(option) for family in families for group in family.groups}
    values = {row.options.get(option, "") for row in rows if row.status == "diverged" and row.without(option) in drawn}
    return f" Diverged: {', '.join(sorted(values))}." if values else ""


def _compare_start(rows: list[Row], split: str) -> Finding | None:
    """Compare frozen features with the network from scratch, both trained on all labels."""
    metric = f"{split}_end2end"
    finished = [row for row in rows if row.labels in ("all", MISSING) and row.metric(metric) is not None]
    scratch = _best([row for row in finished if row.from_scratch], n=MAX_BARS // 2)
    frozen = _best([row for row in finished if not row.from_scratch and not row.fine_tunes], n=MAX_BARS // 2)
    if not scratch or not frozen:
        return None
    gain = 100 * (frozen[0].mean(metric) - scratch[0].mean(metric))
    conclusion = (
        f"Best with frozen features, relative to the best from scratch: {points(gain)} "
        f"({frozen[0].size} against {scratch[0].size})."
    )
    groups = group_by_configuration([row for group in scratch + frozen for row in group.rows])
    return Finding(option_charts.results(groups, ("train", split)), conclusion, option_charts.BARS)


def _test_time_augmentation(rows: list[Row], split: str) -> Finding | None:
    with_tta, without = f"{split}_tta", f"{split}_end2end"
    measured = [row for row in rows if row.metric(with_tta) is not None and row.metric(without) is not None]
    if not measured:
        return None
    gain = sum(study_charts.gain_of_views(row, split) for row in measured) / len(measured)
    conclusion = f"{points(gain)} on average over {counted(len(measured), 'run')}."
    chart = study_charts.augmentation_gain(_best(measured), split)
    return Finding(chart, conclusion + _drawn_of(measured), study_charts.BARS)


def _early_stopping(rows: list[Row], split: str) -> Finding | None:
    stopped = [row for row in rows if row.status == "completed" and 0 < row.epochs < row.planned]
    if not stopped:
        return None
    share = sum(row.epochs for row in stopped) / sum(row.planned for row in stopped)
    conclusion = f"{counted(len(stopped), 'run')} stopped early, after {100 * share:.0f} % of the planned epochs."
    return Finding(study_charts.epochs_used(_best(stopped)), conclusion + _drawn_of(stopped))


def _drawn_of(rows: list[Row]) -> str:
    """Say which configurations the chart shows, if these are not all."""
    n = len({row.without() for row in rows})
    return f" The chart shows the best {MAX_BARS} of {n} configurations." if n > MAX_BARS else ""


def _best(rows: list[Row], n: int = MAX_BARS) -> list[RunGroup]:
    """Return the ``n`` best configurations on validation, named by the options in which they differ."""
    groups = sorted(group_by_configuration(rows), key=lambda group: -(group.mean("val_end2end") or 0))
    return group_by_configuration([row for group in groups[:n] for row in group.rows])


QUESTIONS = (
    Question("1 · Start", "How good are frozen features? The training accuracy shows the overfitting.", _compare_start),
    Question("2 · Optimizer of the head", "Does it matter while the backbone is frozen?", _vary("optimizer_stage1")),
    Question("3 · Unfreezing depth", "How many of the last layers should stage 2 train?", _vary("n_unfreeze")),
    Question(
        "4 · Learning rate",
        "At which learning rate does fine-tuning learn, and at which does it collapse?",
        _vary("learning_rate_stage2"),
    ),
    Question("5 · Augmentation", "How much does augmentation add?", _vary("augment")),
    Question("6 · Test-time augmentation", "How much does test-time augmentation add?", _test_time_augmentation),
    Question("6 · Early stopping", "How many epochs does it save?", _early_stopping),
    Question("Label efficiency", "Up to how many labels is transfer learning ahead?", _vary("labels_per_class")),
    Question("Image size", "How much does a larger input add?", _vary("image_size")),
)
COVERED = {"optimizer_stage1", "n_unfreeze", "learning_rate_stage2", "augment", "labels_per_class", "image_size"}
