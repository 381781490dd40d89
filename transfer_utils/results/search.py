"""Search runs by words and conditions: ``baseline val>0.8 n_unfreeze>=30 seed=0``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transfer_utils.config.options import RunConfig
from transfer_utils.config.recorded import ignored
from transfer_utils.errors import nearest
from transfer_utils.results.options import model_kind, model_name, sort_key, value_text
from transfer_utils.results.table import Row
from transfer_utils.utils.text import as_text, finite_number

CONDITION = re.compile(r"([\w.-]+)\s*(<=|>=|!=|==|=|<|>|≤|≥|≠)\s*(\"[^\"]*\"|[^\s<>=!≤≥≠]+)")
COMPARISONS = {"<": operator.lt, "<=": operator.le, "≤": operator.le, ">": operator.gt, ">=": operator.ge}
COMPARISONS["≥"] = operator.ge
DIFFERENT = ("!=", "≠")

# What a column of the table is called, beside the options.
COLUMNS: dict[str, Callable[[Row], Any]] = {
    "run": lambda row: row.name,
    "status": lambda row: row.status,
    "validation": lambda row: row.metric("val_end2end"),
    "test": lambda row: row.metric("test_end2end"),
    "network": lambda row: row.network,
    "augmented": lambda row: row.augmentation,
    "seconds": lambda row: row.seconds,
    "epochs": lambda row: row.epochs,
    "date": lambda row: row.created,
    "data": lambda row: row.dataset,
}
OTHER_NAMES = {"name": "run", "val": "validation", "unfrozen": "n_unfreeze", "labels": "labels_per_class"}
OTHER_NAMES |= {"mixup": "use_mixup", "dataset": "data"}
ACCURACIES = ("validation", "test")


@dataclass
class Query:
    """A parsed search: words that a run must contain, and conditions (name, sign, value) that it must meet."""

    words: list[str]
    conditions: list[tuple[str, str, str]]

    def matches(self, row: Row) -> bool:
        """Return whether a run contains all words and meets all conditions."""
        text = searched_text(row) if self.words else ""
        contains = all(word in text for word in self.words)
        return contains and all(_meets(row, *condition) for condition in self.conditions)

    def unknown(self, rows: list[Row]) -> list[str]:
        """Return a sentence for each condition whose name is no column or option of a run, or whose limit no number."""
        known = {*COLUMNS, *OTHER_NAMES, *RunConfig.model_fields} | {name for row in rows for name in row.config}
        names = dict.fromkeys(name for name, _, _ in self.conditions if name not in known)
        lines = [f"There is no column or option {as_text(name, 40)!r}.{nearest(name, known)}" for name in names]
        limits = (value for name, sign, value in self.conditions if sign in COMPARISONS and name != "date")
        odd = [value for value in limits if _limit("", value) is None]
        return lines + [f"{as_text(value, 40)!r} is not a number: write, for example, 0.8 or 80%." for value in odd]


def parse_search(text: str) -> Query:
    """Parse a search. Spaces around a sign do not matter; upper and lower case are the same."""
    text = text.lower()
    conditions = [(name.replace("-", "_"), sign, value.strip('"')) for name, sign, value in CONDITION.findall(text)]
    return Query(CONDITION.sub(" ", text).split(), conditions)


def searched_text(row: Row) -> str:
    """Return the text in which words are searched: what names the run, and the options that are words.

    Options that the model ignores are left out, or "baseline" would find every run.
    """
    words = [row.name, row.status, row.dataset, row.network, row.created, model_kind(row.config)]
    words += [model_name(row.config), as_text(row.config.get("model"), 20), as_text(row.config.get("preset"), 40)]
    words += [as_text(value, 40) for value in _described(row).values() if isinstance(value, str)]
    return " ".join(words).lower()


def _described(row: Row) -> dict[str, Any]:
    """Return the options that describe a run: those that have an effect on it, without its folders and files."""
    left_out = ignored(row.config)
    return {
        name: value
        for name, value in row.config.items()
        if name not in left_out and not name.endswith(("_dir", "_path"))
    }


def _meets(row: Row, name: str, sign: str, value: str) -> bool:
    name = OTHER_NAMES.get(name, name)
    if name in COLUMNS:
        actual = COLUMNS[name](row)
        texts = actual.split(" + ") if name == "augmented" else []  # yes + Mixup
    elif name in (options := _described(row)):
        actual = options[name]
        texts = [value_text(name, actual)]
    else:
        return False
    if name == "date":
        # As text, which ISO dates sort by. As much of the date as is asked for, so = and <= mean that day or month.
        actual = actual[: len(value)]
        compared = COMPARISONS.get(sign, lambda ours, theirs: (ours == theirs) != (sign in DIFFERENT))
        return actual[:1].isdigit() and value[:1].isdigit() and compared(actual, value)
    number, limit = _number(name, actual), _limit(name, value)
    if sign in COMPARISONS:
        return number is not None and limit is not None and COMPARISONS[sign](number, limit)
    texts += [as_text(actual, 200), str(actual)]
    same = value in (text.lower() for text in texts) or (number is not None and number == limit)
    return same != (sign in DIFFERENT)


def _number(name: str, value: Any) -> float | None:
    """Return a value as a number; a number that means "all" is infinite, as it is larger than any other."""
    return None if finite_number(value) is None else sort_key(name, value)[1]


def _limit(name: str, text: str) -> float | None:
    """Return the number in a condition: ``80%`` is 0.8, and so is an accuracy of ``80``; ``all`` is infinite."""
    if text == "all":
        return math.inf
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return None
    return number / 100 if text.endswith("%") or (name in ACCURACIES and number > 1) else number
