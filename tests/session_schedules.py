"""Sessions and the ways in which they can reach the flow, for property tests of the machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from flows.core.behaviour import (
    BehaviourMachine,
    BehaviourOutput,
    SessionState,
    decode_state,
    encode_state,
)
from flows.core.insight import Insight
from flows.core.session_event import (
    Body,
    Click,
    Depth,
    Device,
    Goal,
    Moves,
    Mutation,
    Page,
    PageError,
    Place,
    SessionBatch,
    SessionEvent,
    Target,
    Visitor,
    Vitals,
)
from flows.core.session_row import SessionRow

PROJECT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"
SESSION = "7b6f3a0e-8f0e-4c2e-9a54-0f8a5d1c2b3a"
START_MS = 1_795_255_200_000
DEVICE = Device("Chrome", "Windows", "desktop")
HOME = Page("https://a.example/", "/", "/")
PATHS = ("/", "/cart", "/pricing")
ACTIONS = ("burst", "click", "moves", "error", "view", "back", "answer", "scroll", "vitals", "goal")
# What exclusions look at, too.
REASONS = (
    "twin", "link", "handled", "canvas", "noise", "background", "away", "form", "select", "pager",
    "player", "jump", "slider", "end", "twice",
)  # fmt: skip


@dataclass
class Story:
    """A visit being made up, in one or two tabs; times in milliseconds after its start."""

    chance: random.Random
    events: list[SessionEvent] = field(default_factory=list)
    at_ms: int = 0
    page: Page = HOME

    def act(self, action: str, gap_ms: int) -> None:
        """What the visitor does after a pause."""
        self.at_ms += gap_ms
        chance = self.chance
        match action:
            case "burst":
                x, y = chance.randint(0, 900), chance.randint(0, 900)
                for _ in range(chance.randint(3, 9)):
                    self.put("click", self.click(x + chance.randint(0, 9), y))
                    self.at_ms += chance.choice((90, 90, 250, 250, 400, 2_000, 2_001))
            case "click":
                self.put("click", self.click(chance.randint(0, 900), chance.randint(0, 900)))
            case "moves":
                for _ in range(chance.randint(1, 8)):
                    self.put("mouse_move", Moves(self.zigzag()))
                    self.at_ms += 500
            case "error":
                self.put("click", self.click(5, 5))
                self.at_ms += chance.choice((0, 40, 1_000, 1_001))
                self.put("js_error", PageError("x is undefined", "TypeError"))
            case "view":
                path = chance.choice(PATHS)
                self.page = Page(f"https://a.example{path}", path, path)
                self.put("page_view", None)
            case "back":
                for path in ("/a", "/b", "/a"):
                    self.page = Page(f"https://a.example{path}", path, path)
                    self.put("page_view", None)
                    self.at_ms += chance.choice((300, 3_000))
            case "answer":
                kind = chance.choice(("custom_event", "dom_mutation", "fetch_request", "page_exit"))
                self.put(kind, Depth(40, 100) if kind == "page_exit" else None)
            case "scroll":
                self.put("scroll", Depth(chance.randint(0, 100)))
            case "vitals":
                self.put("web_vitals", Vitals(lcp=chance.choice((900, 4_200)), ttfb=100))
            case "goal":
                self.put("goal", Goal("signup"))
            case _:
                self.give_reason(action)

    def give_reason(self, action: str) -> None:
        """What may keep an insight away, now and then too late or in the wrong place."""
        chance = self.chance
        match action:
            case "twin":
                for _ in range(chance.randint(3, 6)):
                    self.put("click", self.click(300, 300, "label"))
                    self.at_ms += chance.choice((10, 50, 51))
                    self.put("click", self.click(300, 300, "input"))
                    self.at_ms += chance.choice((200, 400))
            case "link":
                self.put("click", self.click(20, 20, "a", "/cart"))
                self.at_ms += chance.choice((900, 4_000, 9_990, 10_001))
                self.put("page_exit", Depth(10, 100))
                self.page = Page("https://a.example/cart", "/cart", "/cart")
                self.put("page_view", None)
            case "handled":
                for _ in range(6):
                    click = self.put("click", self.click(700, 10))
                    self.at_ms += 150
                    if chance.random() < 0.9:
                        self.put("dom_mutation", Mutation(click.event_id, ("mutation",)))
            case "canvas":
                self.put("click", self.click(400, 400, "canvas"))
                self.at_ms += chance.choice((900, 1_100))
                self.act("moves", 0)
            case "noise":
                self.put("click", self.click(5, 5))
                self.put("js_error", PageError("ResizeObserver loop limit exceeded", "Error"))
            case "background":
                self.put("js_error", PageError("x is undefined", "TypeError"))
                self.at_ms += chance.choice((1_500, 20_000))
                self.act("error", 0)
            case "away":
                self.put(chance.choice(("page_hidden", "page_visible")), None)
            case "form":
                self.put(chance.choice(("form_submit", "form_error")), None)
            case "select":
                self.act("burst", 0)
                self.put("text_select", None)
            case "pager":
                is_observed = chance.choice((True, True, None))
                for _ in range(chance.randint(5, 8)):
                    name = chance.choice(("next", "next", "next", "more"))
                    target = Target(f"#{name}", "p", name, text=name)
                    click = self.put("click", Click(target, 600, 600, True, is_observed))
                    self.at_ms += 200
                    if chance.random() < 0.1:
                        self.put("dom_mutation", Mutation(click.event_id, ("mutation",)))
            case "player":
                self.put("click", self.click(40, 900))
                self.at_ms += chance.choice((5, 1_000, 1_001))
                self.put(chance.choice(("media_seek", "media_complete")), None)
            case "jump":
                if chance.random() < 0.3:
                    self.put("scroll", Depth(20))
                    self.at_ms += chance.choice((10, 300, 301))
                self.put("click", self.click(50, 50))
                self.at_ms += chance.choice((8, 300, 301))
                self.put("scroll", Depth(60))
            case "end":
                older = Target("#older", "button", "older", text="older")
                for _ in range(chance.randint(1, 6)):
                    click = self.put("click", Click(older, 600, 80, True, True))
                    self.put("dom_mutation", Mutation(click.event_id, ("mutation",)))
                    self.at_ms += 300
                self.at_ms += chance.choice((0, 1_700, 1_701))
                older = msgspec.structs.replace(older, attributes={"disabled": ""})
                for _ in range(chance.randint(1, 3)):
                    self.put("click", Click(older, 600, 80, True, True))
                    self.at_ms += 300
            case "twice":
                click = self.put("click", self.click(30, 700))
                self.put("dom_mutation", Mutation(click.event_id, ("mutation",)))
                self.at_ms += chance.choice((90, 1_000, 1_001))
                self.put("click", self.click(30, 700))
            case "slider":
                self.act("moves", 0)
                self.at_ms += chance.choice((0, 1_400, 1_600))
                target = Target("#volume", "input", attributes={"type": "range"})
                self.put("click", Click(target, 5, 5, True, True))

    def put(self, kind: str, body: Body | None) -> SessionEvent:
        """One event now."""
        event_id = str(UUID(int=self.chance.getrandbits(128), version=4))
        at_ms = START_MS + self.at_ms
        visitor = Visitor("", "a1", self.chance.choice(("tab-1", "tab-2")))
        made = SessionEvent(event_id, kind, at_ms, 0, self.page, visitor, DEVICE, body)
        self.events.append(made)
        return made

    def click(self, x: int, y: int, tag: str = "button", href: str | None = None) -> Click:
        """On one of two elements."""
        name = self.chance.choice(("buy", "more")) if tag == "button" else tag
        return Click(Target(f"#{name}", tag, name, text=name, href=href), x, y, True, True)

    def zigzag(self) -> tuple[tuple[int, int, int], ...]:
        """A shaken mouse."""
        return tuple((100 + 40 * (step % 2), 200, 50 * step) for step in range(10))


def make_visit(seed: int, actions: Sequence[tuple[str, int]]) -> list[SessionEvent]:
    """The events of a visit, not received yet."""
    story = Story(random.Random(seed))
    story.put("page_view", None)
    for action, gap_ms in actions:
        story.act(action, gap_ms)
    return story.events


@dataclass(frozen=True)
class Delivery:
    """One batch and the processing clock when it is taken."""

    batch: SessionBatch
    now_ms: int


def deliver(
    events: Sequence[SessionEvent], delays_ms: Sequence[int], chance: random.Random
) -> list[Delivery]:
    """The events, each received `delays_ms` after it happened, in batches, some of them twice."""
    received = [
        msgspec.structs.replace(event, received_at_ms=event.at_ms + delay_ms)
        for event, delay_ms in zip(events, delays_ms, strict=True)
    ]
    again = [
        msgspec.structs.replace(
            event, received_at_ms=event.received_at_ms + chance.randint(0, 60_000)
        )
        for event in received
        if chance.random() < 0.1
    ]
    received += again
    chance.shuffle(received)  # Those of one moment come in any order.
    received.sort(key=lambda event: event.received_at_ms)
    deliveries: list[Delivery] = []
    while received:
        now_ms = received[0].received_at_ms
        count = sum(event.received_at_ms == now_ms for event in received)
        size = chance.randint(1, count)
        batch = SessionBatch(PROJECT, SESSION, now_ms, tuple(received[:size]), Place("Sweden"), 30)
        deliveries.append(Delivery(batch, now_ms))
        del received[:size]
    return deliveries


def flushed(events: Sequence[SessionEvent], every_ms: int, travel_ms: int) -> list[int]:
    """The delays of an SDK that sends what it has every so often."""
    return [every_ms - event.at_ms % every_ms + travel_ms for event in events]


def are_consecutive(revisions: Sequence[int]) -> bool:
    """Revisions of a session: from 1 on, and 0 as long as it was not seen to begin."""
    fragments = revisions.count(0)
    whole = range(1, len(revisions) - fragments + 1)
    return list(revisions) == [0] * fragments + list(whole)


class Clock:
    """An engine's way of calling a machine: exact, late, or hardly ever; it may restart."""

    def __init__(self, machine: BehaviourMachine, *, seed: int = 0, habit: str = "exact") -> None:
        self.machine = machine
        self.state: SessionState | None = None
        self.outputs: list[BehaviourOutput] = []
        self.failure_count = 0  # Of detectors.
        self._chance = random.Random(seed)
        self._habit = habit

    def take(self, delivery: Delivery) -> None:
        """Let time pass until the batch, and take it."""
        self.pass_until(delivery.now_ms)
        self._restart()
        self._keep(self.machine.on_event(self.state, delivery.batch, delivery.now_ms))

    def pass_until(self, now_ms: int) -> None:
        """Call `on_time` for what is due, as is the habit."""
        while self.state is not None:
            wake_at_ms = self.machine.wake_at_ms(self.state)
            if wake_at_ms is None or wake_at_ms > now_ms:
                if self._habit == "eager":
                    self._wake(now_ms)
                return
            if self._habit == "lazy":
                return
            if self._habit == "late":
                wake_at_ms = self._chance.randint(wake_at_ms, now_ms)
            self._wake(wake_at_ms)

    def finish(self, now_ms: int) -> None:
        """Nothing more comes."""
        while self.state is not None:
            wake_at_ms = self.machine.wake_at_ms(self.state)
            if wake_at_ms is None or wake_at_ms > now_ms:
                return
            self._wake(now_ms if self._habit == "lazy" else wake_at_ms)

    def _wake(self, now_ms: int) -> None:
        self._restart()
        assert self.state is not None
        self._keep(self.machine.on_time(self.state, now_ms))

    def _keep(self, step: tuple[SessionState | None, Sequence[BehaviourOutput]]) -> None:
        self.state = step[0]
        self.outputs += step[1]
        if self.state is not None:
            self.failure_count = max(self.failure_count, self.state.failure_count)

    def _restart(self) -> None:
        if self.state is not None and self._chance.random() < 0.3:
            self.state = decode_state(encode_state(self.state))

    @property
    def rows(self) -> list[SessionRow]:
        """Revisions so far."""
        return [output for output in self.outputs if isinstance(output, SessionRow)]

    @property
    def insights(self) -> list[Insight]:
        """Insights so far."""
        return [output for output in self.outputs if isinstance(output, Insight)]
