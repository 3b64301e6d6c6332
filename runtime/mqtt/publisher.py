"""Tells a broker what the loop sees, from a thread of its own: the loop only leaves notes, whatever the broker does."""

from __future__ import annotations

import collections
import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from multigraft import files
from multigraft.bundle.manifest import Manifest, Task
from multigraft.errors import MultigraftError
from multigraft.reading import read_file
from multigraft.runtime.answers import Answer
from multigraft.runtime.mqtt.broker import Broker
from multigraft.runtime.mqtt.connection import Connection
from multigraft.runtime.mqtt.discovery import OFFLINE, ONLINE, Topics, configurations
from multigraft.runtime.mqtt.names import node_of
from multigraft.runtime.mqtt.states import dumped, machine, state_of
from multigraft.runtime.quiet.events import Events
from multigraft.runtime.quiet.steady import USUAL, Rule, Steady

MOST_EVENTS = 256
"""That wait for a broker; the oldest gives way."""
INTERVAL_S = 2.0
"""Between two tellings of a state that changes all the time."""
AGAIN_S = 10.0
"""Between two tellings of all entities, however often Home Assistant says that it starts."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Between two attempts to reach the broker; each is twice the one before."""
STEP_S = 0.1
MARGIN = 0.1
"""Of what lies between the lowest score that a task answers with and 1: a class comes in above that. A score that
wobbles around the lowest one would make it come and go otherwise."""
TOLD = "mqtt.json"
"""In the state folder: the entities that a broker was told of."""
_LARGEST_TOLD = 4 << 20
_MOST_TOLD = 10_000

Say = Callable[[bool, str], None]
"""Is told whether the broker answers, and a sentence."""


def rule_for(task: Task, rule: Rule) -> Rule:
    """A task's rule: without a score to enter, one above the lowest that it answers with, and that one to leave."""
    if rule.enter is not None or task.answer is None:
        return rule
    lowest = task.answer.score_threshold
    return replace(rule, enter=lowest + MARGIN * (1 - lowest), leave=lowest)


class Publisher:
    """Tells a broker.

    Args:
        broker: Which one.
        manifest: Of the bundle.
        tasks: Those that are answered; None for all.
        sha256: Of the bundle.
        state: The state folder.
        figures: ``rate_hz``, ``power``, ``temperature_c``, ``throttled`` and ``camera`` now; None until they are known.
        say: The log.
        rule: How calm answers are; without a score to enter, each detector has its own.

    Raises:
        ConfigurationError: The password or the certificates cannot be read.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        broker: Broker,
        manifest: Manifest,
        tasks: tuple[str, ...] | None,
        sha256: str,
        state: Path,
        figures: Callable[[], Mapping[str, Any] | None],
        say: Say = lambda is_up, sentence: None,
        rule: Rule = USUAL,
    ) -> None:
        self._broker, self._manifest, self._sha256, self._say = broker, manifest, sha256, say
        self._tasks = tuple(task.name for task in manifest.tasks if tasks is None or task.name in tasks)
        self._figures = figures
        self._folder = state
        self.topics = Topics(node_of(state), broker.prefix, broker.discovery)
        bases = {task.name: task.on.task for task in manifest.tasks if task.on is not None}
        self._steady = Steady({name: rule_for(manifest.task(name), rule) for name in self._tasks}, bases)
        self._changes = Events(rule.patience)
        self._latest: dict[str, Answer] = {}
        self._events: collections.deque[dict[str, Any]] = collections.deque(maxlen=MOST_EVENTS)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._told: dict[str, str] = {}
        self._is_ending = False
        self._noted, self._included, self._confirmed = 0, 0, -1
        self.is_up = False
        self.sent = self.dropped = self.losses = self.foreign = 0
        # What is wrong in a file is said at the start, not by the thread.
        self._connection()

    def start(self) -> None:
        """Tell from now on."""
        self._thread.start()

    def drain(self, wait_s: float) -> bool:
        """Wait until the broker has confirmed all that was noted; whether it has."""
        self._is_ending = True
        give_up = time.monotonic() + wait_s
        while self._confirmed != self._noted and self._thread.is_alive() and time.monotonic() < give_up:
            time.sleep(STEP_S / 2)
        return self._confirmed == self._noted

    def stop(self, wait_s: float = 5.0) -> None:
        """Say that nothing comes any more; a broker that hangs is left alone."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def answered(self, answers: Mapping[str, Answer]) -> None:
        """Note a frame's answers; called by the loop, and never waits."""
        calm = self._steady.step(answers)
        self._latest = {**self._latest, **calm}
        for event in self._changes.step(calm):
            if len(self._events) == MOST_EVENTS:
                self.dropped += 1
            self._events.append(event)
        self._noted += 1

    def to_json(self) -> dict[str, Any]:
        """How it does, as plain data."""
        return {
            "up": self.is_up,
            "sent": self.sent,
            "dropped": self.dropped,
            "losses": self.losses,
            "foreign": self.foreign,
        }

    def _connection(self) -> Connection:
        will = (self.topics.availability, OFFLINE)
        return Connection(self._broker, self.topics.node, will, self.topics.birth)

    def _run(self) -> None:
        pause_s, is_first = FIRST_PAUSE_S, True
        while not self._stopped.is_set():
            begin = time.monotonic()
            problem = self._once()
            if self._stopped.is_set():
                return
            if is_first or self.is_up:
                self.losses += 1
                self._say(False, problem)
            if self.is_up and time.monotonic() - begin > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            self.is_up = is_first = False
            self._stopped.wait(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _once(self) -> str:
        """One connection; why it ended."""
        connection = None
        try:
            connection = self._connection()
            connection.open()
            if self.losses:
                self._say(True, f"{self._broker} answers")
            self.is_up = True
            self._tell(connection)
            problem = ""
        except MultigraftError as error:
            problem = str(error)
        except Exception as error:
            # Whatever it is, frames are answered and the broker is looked for again.
            problem = f"{type(error).__name__}: {error}"
        if connection is not None:
            self._give_back(connection)
            self.foreign += connection.foreign
            connection.close()
        return problem

    def _give_back(self, connection: Connection) -> None:
        """Events that were not confirmed are told to the next connection."""
        for event, _ in reversed(connection.underway.values()):
            if event is not None and len(self._events) < MOST_EVENTS:
                self._events.appendleft(event)
            elif event is not None:
                self.dropped += 1

    def _tell(self, connection: Connection) -> None:
        """Tell until the connection is lost or this is to end."""
        due, entities_due = 0.0, 0.0
        waiting: dict[str, str] = {}
        self._told = {}
        gone = self._remembered()
        while not self._stopped.is_set():
            now = time.monotonic()
            if connection.is_born and now >= entities_due:
                connection.is_born, self._told = False, {}
                due = 0.0
            if self._events or (self._is_ending and self._included != self._noted):
                # What changed and what is now are told together.
                due = now
            if now >= due and (figures := self._figures()) is not None:
                if not self._told:
                    entities_due = now + AGAIN_S
                due = now + INTERVAL_S
                waiting |= self._news(figures, gone)
            self._send(connection, waiting)
            if gone and self._told and not waiting and not connection.underway:
                gone = set()
                self._remember(set(self._told) - {self.topics.availability})
            connection.step(STEP_S)
            if self._told and not (waiting or self._events or connection.underway):
                self._confirmed = self._included
        with contextlib.suppress(MultigraftError):
            connection.send(self.topics.availability, OFFLINE, True, None)
            for _ in range(20):
                if not connection.underway:
                    break
                connection.step(STEP_S)

    def _news(self, figures: Mapping[str, Any], gone: set[str]) -> dict[str, str]:
        """Topic to text of what is retained and has changed."""
        self._included = self._noted
        told = machine(figures)
        entities = configurations(self.topics, self._manifest, self._tasks, self._sha256, told)
        texts = {topic: dumped(entity) for topic, entity in entities.items()}
        texts[self.topics.availability] = ONLINE
        told.pop("rails", None)
        texts[self.topics.figures] = dumped(told)
        for task, answer in self._latest.items():
            texts[self.topics.task(task)] = dumped(state_of(self._manifest, self._manifest.task(task), answer))
        texts |= {topic: text for topic, text in self._told.items() if topic not in texts}
        known = set(texts) - {self.topics.availability}
        if not known <= set(self._told) or not self._told:
            # Written before it is told: what a broker may know is never forgotten.
            self._remember(known | gone)
        news = {topic: text for topic, text in texts.items() if self._told.get(topic) != text}
        if not self._told:
            # A text of no letters takes a retained message away.
            news = dict.fromkeys(sorted(gone - known), "") | news
        self._told = texts
        return news

    def _send(self, connection: Connection, waiting: dict[str, str]) -> None:
        while waiting and connection.has_room:
            topic = next(iter(waiting))
            connection.send(topic, waiting.pop(topic), True, None)
            self.sent += 1
        while self._events and not waiting and connection.has_room:
            event = self._events.popleft()
            text = dumped({"event_type": event["event"], **{k: v for k, v in event.items() if k != "event"}})
            connection.send(self.topics.event(event["task"]), text, False, event)
            self.sent += 1

    def _remembered(self) -> set[str]:
        """Topics that an earlier service of this folder may have left with a broker."""
        with contextlib.suppress(MultigraftError, OSError, ValueError):
            topics = json.loads(read_file(self._folder / TOLD, _LARGEST_TOLD))
            if isinstance(topics, list):
                return {t for t in topics[:_MOST_TOLD] if isinstance(t, str) and f"/{self.topics.node}/" in t}
        return set()

    def _remember(self, topics: set[str]) -> None:
        with contextlib.suppress(MultigraftError, OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            files.write_bytes(self._folder / TOLD, json.dumps(sorted(topics)).encode())
