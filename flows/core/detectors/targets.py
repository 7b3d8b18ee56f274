"""What an element is for, judged by what a click says of it. Pure.

In: the target of a click. Out: whether it looks as if it could be clicked, and what a person would
expect of it. Source: detectors.md, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

from flows.core.session_event import Target

CLICKABLE_TAGS = frozenset({"a", "button"})
CLICKABLE_INPUTS = frozenset(
    {"button", "submit", "reset", "image", "checkbox", "radio", "file", "color", "range"}
)
CLICKABLE_ROLES = frozenset(
    {"button", "link", "checkbox", "radio", "menuitem", "tab", "switch", "option"}
)
CLICK_ATTRIBUTES = frozenset({"onclick", "ng-click", "@click", "data-action"})
CLICKABLE_WORDS = frozenset({"btn", "button", "link", "clickable", "interactive"})
FIELD_TAGS = frozenset({"select", "textarea"})
# Links that hand over to another program: the page has nothing to answer with.
OUTSIDE_SCHEMES = ("mailto:", "tel:", "sms:", "blob:", "data:")

ResultT = TypeVar("ResultT")

KNOWN_MAX = 4_096

# Digits belong to the word that they stand in: `btn2` is none of the words above.
_WORD = re.compile(r"[0-9]*[A-Z]?[a-z][a-z0-9]*|[0-9]*[A-Z]+(?![a-z])[0-9]*|[0-9]+")


class KnownTargets(Generic[ResultT]):
    """What `make` says of targets: asked once for each, as clicks on an element share its target.

    Targets are known by their identity, and kept, so that no other one gets it.
    """

    def __init__(self, make: Callable[[Target], ResultT]) -> None:
        self._make = make
        self._known: dict[int, tuple[Target, ResultT]] = {}

    def of(self, target: Target) -> ResultT:
        """What is said of this one."""
        known = self._known.get(id(target))
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[id(target)] = (target, self._make(target))
        return known[1]


def class_words(classes: tuple[str, ...]) -> set[str]:
    """Words of class names, split at other characters and at camelCase, in lower case."""
    return {word.lower() for name in classes for word in _WORD.findall(name)}


def input_type(target: Target) -> str | None:
    """The type of an input, empty if it has none; None of other elements."""
    return target.attributes.get("type", "").lower() if target.tag.lower() == "input" else None


def is_text_field(target: Target) -> bool:
    """A field that a person types or chooses in: nothing needs to change when it is clicked."""
    kind = input_type(target)
    return target.tag.lower() in FIELD_TAGS if kind is None else kind not in CLICKABLE_INPUTS


def is_editable(target: Target) -> bool:
    """A text field, or any element whose text may be edited."""
    if is_text_field(target):
        return True
    value = target.attributes.get("contenteditable")
    return value is not None and value.lower() != "false"


def has_click_attribute(target: Target) -> bool:
    """An attribute says that clicks are handled."""
    return not CLICK_ATTRIBUTES.isdisjoint(target.attributes)


def looks_interactive(target: Target) -> bool:
    """Whether a person would expect that a click does something."""
    tag = target.tag.lower()
    if tag == "input" or tag in FIELD_TAGS:
        return not is_text_field(target)
    return (
        tag in CLICKABLE_TAGS
        or target.attributes.get("role", "").lower() in CLICKABLE_ROLES
        or has_click_attribute(target)
        or not CLICKABLE_WORDS.isdisjoint(class_words(target.classes))
    )


def is_outside(target: Target) -> bool:
    """A link to another program, or a download."""
    href = (target.href or "").strip().lower()
    return href.startswith(OUTSIDE_SCHEMES) or "download" in target.attributes


def is_slider(target: Target) -> bool:
    """What is dragged to and fro to choose a value."""
    return input_type(target) == "range" or target.attributes.get("role", "").lower() == "slider"


def is_disabled(target: Target) -> bool:
    """A control that says that it cannot be used now."""
    values = target.attributes
    return "disabled" in values or values.get("aria-disabled", "").lower() == "true"


def labels_of(target: Target) -> frozenset[str]:
    """What the element is called, by its text or for a screen reader; in lower case."""
    values = target.attributes
    said = (target.text, target.name, values.get("aria-label", ""), values.get("title", ""))
    return frozenset([text.strip().lower() for text in said if text])


def link_of(target: Target) -> str | None:
    """The address of a link; None if it is none."""
    return target.href if target.tag.lower() == "a" else None
