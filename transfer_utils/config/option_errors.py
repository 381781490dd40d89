"""The wording of errors in options: what was expected, what was received, and the nearest name that exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from transfer_utils.errors import nearest

# By type of pydantic's error; otherwise by the first word of the type.
EXPECTED = {
    "greater_than_equal": "at least {ge:.10g}",
    "greater_than": "greater than {gt:.10g}",
    "less_than_equal": "at most {le:.10g}",
    "less_than": "less than {lt:.10g}",
    "literal_error": "one of {expected}",
    "finite_number": "a finite number",
    "string_too_short": "text of at least one character",
    "too_short": "a list of at least one value",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "list": "a list such as [0, 1]",
    "dict": "a mapping such as {{patience: 0}}",
    "model": "a mapping of keys to values",
}


def explain_option(item: Mapping[str, Any], name: str, fields: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors as a line such as ``image_size must be at least 32, got 16.``

    Args:
        item: from ``ValidationError.errors()``.
        name: of the option or key; empty for a rule about several, whose message is complete.
        fields: the fields of the model by name.
    """
    kind = item["type"]
    if kind == "extra_forbidden":
        return unknown("key", name, fields) + f" The keys are {', '.join(fields)}."
    if kind == "missing":
        return f"The key {name!r} is missing."
    if kind in ("value_error", "assertion_error") or not name:
        text = item["msg"].removeprefix("Value error, ")
        return text if text.endswith((".", "?")) else f"{text}."
    expected = EXPECTED.get(kind) or EXPECTED.get(kind.split("_")[0])
    if expected is None:  # such as a key that is not text
        return f"{name}: {item['msg']}."
    allowed = get_args(fields[name].annotation) if kind == "literal_error" else ()
    hint = nearest(item["input"], allowed)
    return f"{name} must be {expected.format(**item.get('ctx', {}))}, got {shown(item['input'])}.{hint}"


def unknown(what: str, name: Any, known: Iterable[str]) -> str:
    """Return that there is no option, key or preset of this name, and the nearest one that there is."""
    return f"There is no {what} {shown(name)}.{nearest(name, known)}"


def shown(value: Any) -> str:
    """Return ``repr(value)``, shortened if it is long. Python refuses to convert an int of 5,000 digits to text."""
    try:
        text = repr(value)
    except ValueError:
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else "a number of many digits"
    return text if len(text) <= 80 else f"{text[:40]}...{text[-20:]}"
