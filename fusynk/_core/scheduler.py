"""The state machine of a run, without I/O: told how a step ended, it says which steps may start."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from heapq import heapify, heappop, heappush
from typing import TypeAlias, cast

from fusynk._core.batch import Batch
from fusynk._core.conditions import is_met
from fusynk._core.fan_out import FailedItem, items_of
from fusynk._core.model import UNSET, Cancelled, CancelledBy, Failed, Outcome, Skipped, Status, Succeeded
from fusynk._core.ready import Discipline, ready_queue
from fusynk._core.wiring import Argument, EdgeKind, Wiring

_READY, _RUNNING, _RETRYING = Status.READY, Status.RUNNING, Status.RETRYING
_SUCCEEDED, _FAILED, _SKIPPED, _CANCELLED = Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.CANCELLED


Ask: TypeAlias = Callable[[int, Callable[[object], object], object], object]


def _ask_directly(_step: int, function: Callable[[object], object], value: object) -> object:
    return function(value)


class Scheduler:
    """Which steps are ready, and what becomes of the others.

    Steps are the integers of the wiring. Items of a fan-out get integers of their own from `base` up, as they come
    into being. `cells[i]` holds what step i yielded: its artifact, its error, or its outcome when it was skipped.

    Args:
        wiring: The compiled graph.
        inputs: The values of the run's inputs.
        discipline: Who goes first among ready steps of one priority.
        replaced: Steps whose function was replaced as a whole; a fan-out among them does not expand.
        ask: Calls a function of the user's on behalf of a step: (step, function, its argument).

    Attributes:
        ready: The steps that wait for a slot.
        unfinished: How many steps have not ended.
        notices: What the runner must see to: ("hold", barrier, seconds) or ("fail", step, error).
    """

    def __init__(
        self,
        wiring: Wiring,
        inputs: Sequence[object],
        discipline: Discipline,
        replaced: frozenset[int] = frozenset(),
        *,
        ask: Ask = _ask_directly,
    ) -> None:
        self._ask = ask
        count = len(wiring.names)
        self.wiring = wiring
        self.discipline: Discipline = discipline
        self.base = count + len(inputs)
        self.cells: list[object] = [None] * count
        self.cells += inputs
        self.state = bytearray(self.base)
        self.successors = wiring.successors
        self.remaining = [len(sources) for sources in wiring.predecessors]
        self.unfinished = count
        self.notices: list[tuple[str, int, object]] = []
        self.fan_outs = {step: edge for step, edge in wiring.fan_outs.items() if step not in replaced}
        self.attention = self._attention(wiring)
        self.ready = ready_queue(wiring.priorities, discipline, self.step_of if self.fan_outs else None)
        self.defaulted: dict[int, set[int]] = {}
        self._arguments: dict[int, tuple[Argument, ...]] = {}
        self.owners: list[int] = []
        self.item_numbers: list[int] = []
        self.item_values: list[object] = []
        self.items: dict[int, range] = {}
        self._open_items: dict[int, int] = {}
        self._chained: dict[int, list[int]] = {}
        self._chains = self._chain_dependents(wiring)

    def _attention(self, wiring: Wiring) -> bytearray:
        """Mark the steps that do not simply become ready when their last predecessor succeeded."""
        attention = bytearray(len(wiring.names))
        for step, _ in wiring.conditions:
            attention[step] = 1
        for step in (*wiring.delays, *self.fan_outs):
            attention[step] = 1
        return attention

    def _chain_dependents(self, wiring: Wiring) -> dict[int, list[int]]:
        """Return for each fan-out the fan-outs that chain to it; those wait for its expansion, not for its end."""
        chains: dict[int, list[int]] = {}
        for step, edge in self.fan_outs.items():
            if wiring.kinds[step][edge] == EdgeKind.CHAIN:
                chains.setdefault(wiring.predecessors[step][edge], []).append(step)
        return chains

    def begin(self) -> None:
        """Make the sources ready. They have no edges, so there is nothing to judge."""
        for step, count in enumerate(self.remaining):
            if not count:
                self.ready.push(step)

    def step_of(self, index: int) -> int:
        """Return the step that an item belongs to; a step is its own."""
        return index if index < self.base else self.owners[index - self.base]

    def name_of(self, index: int) -> str:
        """Return the name of a step, or `name[i]` for an item."""
        if index < self.base:
            return self.wiring.names[index]
        return f"{self.wiring.names[self.step_of(index)]}[{self.item_numbers[index - self.base]}]"

    def outcome_of(self, index: int) -> Outcome[object] | None:
        """Return how a step or an item ended, or `None` while it has not."""
        state, value = self.state[index], self.cells[index]
        if state == _SUCCEEDED:
            return Succeeded(value)
        if state == _FAILED:
            return Failed(cast("BaseException", value))
        return cast("Skipped | Cancelled", value) if state in (_SKIPPED, _CANCELLED) else None

    def succeed(self, index: int, artifact: object) -> None:
        """Note that a step or an item returned, and make ready what waited only for it."""
        self.cells[index] = artifact
        self.state[index] = _SUCCEEDED
        if index >= self.base:
            self._cascade(self._item_ended(index))
            return
        self.unfinished -= 1
        remaining, attention, push = self.remaining, self.attention, self.ready.push
        dependents = self.successors[index]
        for position, step in enumerate(dependents):
            left = remaining[step] = remaining[step] - 1
            if not left:
                if attention[step]:
                    self._cascade([step, *self._released(dependents[position + 1 :])])
                    return
                push(step)

    def fail(self, index: int, error: BaseException) -> None:
        """Note that a step or an item failed for good, under a policy that lets the run go on."""
        self._cascade(self._ended(index, _FAILED, error))

    def release(self, barrier: int) -> None:
        """Note that a barrier has been held for its delay."""
        self._cascade(self._ended(barrier, _SUCCEEDED, None))

    def retry(self, index: int) -> None:
        """Note that a step waits for its next attempt."""
        self.state[index] = _RETRYING

    def make_ready(self, index: int) -> None:
        """Put a step, or an item, back among those that may start."""
        self.state[index] = _READY
        self.ready.push(index)

    def settle(self, index: int, state: Status, value: object) -> None:
        """Set how a step or an item ended after the run was stopped: nothing follows from it any more."""
        self.state[index] = state
        self.cells[index] = value

    def cancel_rest(self, by: CancelledBy) -> None:
        """Give every step and item that has not ended the outcome `Cancelled`."""
        outcome = Cancelled(by)
        input_cells = range(len(self.wiring.names), self.base)
        for index, state in enumerate(self.state):
            if state < _SUCCEEDED and index not in input_cells:
                self.state[index] = _CANCELLED
                self.cells[index] = outcome
        self.unfinished = 0

    def arguments(self, index: int) -> list[object]:
        """Return the arguments of a step or an item where they are not simply cells."""
        step = self.step_of(index)
        defaulted = self.defaulted.get(step, ())
        return [
            self._argument(index, step, argument, argument.edge in defaulted) for argument in self._arguments_of(step)
        ]

    def _arguments_of(self, step: int) -> tuple[Argument, ...]:
        if step not in self._arguments:
            self._arguments[step] = self.wiring.arguments_of(step)
        return self._arguments[step]

    def _argument(self, index: int, step: int, argument: Argument, defaulted: bool) -> object:  # noqa: FBT001 - read above
        if argument.edge < 0:
            return self.cells[argument.cell]
        if index != step and argument.edge == self.fan_outs[step]:
            return self.item_values[index - self.base]
        if self.wiring.kinds[step][argument.edge] == EdgeKind.OUTCOME:
            return self.outcome_of(argument.cell)
        return argument.default if defaulted else self.cells[argument.cell]

    # How an end travels on

    def _released(self, dependents: Iterable[int]) -> list[int]:
        """Count one edge less for each dependent, and return those that wait for nothing any more."""
        free: list[int] = []
        for step in dependents:
            self.remaining[step] -= 1
            if not self.remaining[step]:
                free.append(step)
        return free

    def _ended(self, index: int, state: Status, value: object) -> list[int]:
        """Set how a step ended, and return the dependents that wait for nothing any more."""
        self.state[index] = state
        self.cells[index] = value
        if index >= self.base:
            return self._item_ended(index)
        self.unfinished -= 1
        dependents = list(self.successors[index])
        if index in self.items:
            for step in self._chains.get(index, ()):
                dependents.remove(step)
        if state != _SUCCEEDED:
            for step in dependents:
                self.attention[step] = 1
        return self._released(dependents)

    def _cascade(self, free: Iterable[int]) -> None:
        """Judge steps that wait for nothing, and what that frees in turn; then make the willing ones ready.

        All of it in plan order, which is topological: what is freed comes after what freed it.
        """
        fresh: list[int] = []
        waiting = [(self.step_of(index), index) for index in free]
        heapify(waiting)
        while waiting:
            _, index = heappop(waiting)
            freed: list[int] = []
            if index >= self.base:
                freed = self._judge_item(index, fresh)
            elif self.attention[index]:
                freed = self._judge(index, fresh)
            else:
                fresh.append(index)
            for later in freed:
                heappush(waiting, (self.step_of(later), later))
        for index in fresh:
            self.ready.push(index)

    def _judge(self, step: int, fresh: list[int]) -> list[int]:
        """Decide what becomes of a step whose predecessors have all ended. Returns the steps that this frees."""
        delay = self.wiring.delays.get(step)
        if delay is not None:
            if delay > 0:
                self.notices.append(("hold", step, delay))
                return []
            return self._ended(step, _SUCCEEDED, None)
        try:
            skipped = self._closed_edge(step)
        except BaseException as error:  # noqa: BLE001 - whatever a condition raises is the runner's to judge
            self.notices.append(("fail", step, error))
            return []
        if skipped is not None:
            return self._skip(step, skipped)
        if step in self.fan_outs:
            return self._expand(step)
        fresh.append(step)
        return []

    def _skip(self, step: int, skipped: Skipped) -> list[int]:
        """Skip a step. Returns the steps that this frees."""
        return self._ended(step, _SKIPPED, skipped)

    def _closed_edge(self, step: int) -> Skipped | None:
        """Ask the edges of a step in their order, and return why the first closed one closes the way.

        Raises:
            Exception: What a condition raised, or the error of a failed member.
        """
        for position, (source, kind) in enumerate(
            zip(self.wiring.predecessors[step], self.wiring.kinds[step], strict=True)
        ):
            closed = self._asked(step, position, source, kind)
            if closed is None:
                continue
            if kind != EdgeKind.DEFAULT:
                return closed
            self.defaulted.setdefault(step, set()).add(position)
        return None

    def _asked(self, step: int, position: int, source: int, kind: int) -> Skipped | None:
        """Tell whether one edge is open; the table of the semantics, row by row."""
        if kind in (EdgeKind.OUTCOME, EdgeKind.BARRIER):
            return None
        condition = self.wiring.conditions.get((step, position))
        if self.state[source] in (_FAILED, _SKIPPED):
            return self._asked_in_vain(step, position, source, kind)
        if condition is None or is_met(self._ask(step, condition, self.cells[source])):
            return None
        return Skipped(self.wiring.names[source], "condition")

    def _asked_in_vain(self, step: int, position: int, source: int, kind: int) -> Skipped | None:
        """Tell whether an edge is open though its source has no artifact."""
        value = self.cells[source]
        if not isinstance(value, Skipped) and kind in (EdgeKind.MEMBER, EdgeKind.MEMBER_DATA):
            raise cast("BaseException", value)
        root = value if isinstance(value, Skipped) else Skipped(self.wiring.names[source], "failure")
        if kind == EdgeKind.MEMBER and root.cause == "condition":
            self.defaulted.setdefault(step, set()).add(position)
            return None
        is_bare_order = kind == EdgeKind.ORDER and (step, position) not in self.wiring.conditions
        return None if is_bare_order and root.cause == "failure" else root

    # Fan-out

    def _expand(self, step: int) -> list[int]:
        """Make the items of a fan-out and return what may be judged next."""
        edge = self.fan_outs[step]
        source = self.wiring.predecessors[step][edge]
        upstream = self.items.get(source)
        if upstream is not None:
            values: list[object] = [UNSET] * len(upstream)
        else:
            try:
                values = cast("list[object]", self._ask(step, partial(self._items_of, step), self.cells[source]))
            except BaseException as error:  # noqa: BLE001 - iterating is the user's code
                self.notices.append(("fail", step, error))
                return []
        self._make_items(step, values)
        self.state[step] = _RUNNING
        free = [item for item in self.items[step] if self._item_is_free(item, upstream)]
        free += self._released(self._chains.get(step, ()))
        return free if values else free + self._completed(step)

    def _make_items(self, step: int, values: list[object]) -> None:
        """Let the items of a fan-out come into being."""
        first = len(self.state)
        self.items[step] = range(first, first + len(values))
        self.owners += [step] * len(values)
        self.item_numbers += range(len(values))
        self.item_values += values
        self.cells += [None] * len(values)
        self.state += bytes(len(values))
        self._open_items[step] = len(values)

    def _items_of(self, step: int, collection: object) -> list[object]:
        """Return what a fan-out goes over."""
        return items_of(collection, step=self.wiring.names[step], source=self._source_name(step))

    def _item_is_free(self, item: int, upstream: range | None) -> bool:
        """Tell whether an item waits for no item of a fan-out before it; note it there if it does."""
        if upstream is None:
            return True
        former = upstream[self.item_numbers[item - self.base]]
        if self.state[former] >= _SUCCEEDED:
            return True
        self._chained.setdefault(former, []).append(item)
        return False

    def _judge_item(self, item: int, fresh: list[int]) -> list[int]:
        """Give an item its value and make it ready, or skip it with the item that it chains to."""
        position = item - self.base
        step = self.owners[position]
        former_items = self.items.get(self.wiring.predecessors[step][self.fan_outs[step]])
        if former_items is not None:
            former = former_items[self.item_numbers[position]]
            if self.state[former] == _FAILED:
                return self._ended(item, _SKIPPED, Skipped(self.name_of(former), "failure"))
            if self.state[former] == _SKIPPED:
                return self._ended(item, _SKIPPED, self.cells[former])
            self.item_values[position] = self.cells[former]
        elif isinstance(self.item_values[position], FailedItem):
            return self._ended(item, _SKIPPED, Skipped(self._source_name(step), "failure"))
        fresh.append(item)
        return []

    def _source_name(self, step: int) -> str:
        return self.wiring.names[self.wiring.predecessors[step][self.fan_outs[step]]]

    def _item_ended(self, item: int) -> list[int]:
        """Count an item as ended, and return what that frees."""
        step = self.owners[item - self.base]
        free = self._chained.pop(item, [])
        self._open_items[step] -= 1
        if not self._open_items[step]:
            free = [*free, *self._completed(step)]
        return free

    def _completed(self, step: int) -> list[int]:
        """End a fan-out whose items have all ended, with the batch of what they returned."""
        numbered = list(enumerate(self.items[step]))
        succeeded = {number: self.cells[item] for number, item in numbered if self.state[item] == _SUCCEEDED}
        failed = {number: self.error_of(item) for number, item in numbered if number not in succeeded}
        return self._ended(step, _SUCCEEDED, Batch(succeeded, failed))

    def error_of(self, item: int) -> BaseException:
        """Return the error that kept an item from an artifact: its own, or that of the item it chains to."""
        position = item - self.base
        while self.state[item] == _SKIPPED:
            step, value = self.owners[position], self.item_values[position]
            if isinstance(value, FailedItem):
                return value.error
            item = self.items[self.wiring.predecessors[step][self.fan_outs[step]]][self.item_numbers[position]]
            position = item - self.base
        return cast("BaseException", self.cells[item])
