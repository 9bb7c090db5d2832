"""Graphs to draw: a few well known ones, and any that hypothesis can think of."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

WORDS = ("load", "fetch_orders", "x", "在庫", "é", "send_a_rather_long_message", "🚀", "e\u0301")


@dataclass(frozen=True)
class Graph:
    """Names, and what each of them depends on."""

    names: tuple[str, ...]
    predecessors: tuple[tuple[int, ...], ...]

    @property
    def edges(self) -> set[tuple[str, str]]:
        return {
            (self.names[source], self.names[node])
            for node, sources in enumerate(self.predecessors)
            for source in sources
        }


def graph(*lines: str) -> Graph:
    """Each line is a node, an arrow and what it depends on: "pay <- order, customer"."""
    parts = [line.partition(" <- ") for line in lines]
    names = [name for name, _, _ in parts]
    rows = [[names.index(source) for source in sources.split(", ")] if sources else [] for _, _, sources in parts]
    return Graph(tuple(names), tuple(map(tuple, rows)))


ORDER = graph(
    "check_inventory",
    "validate_customer",
    "reserve_inventory <- check_inventory",
    "create_order <- reserve_inventory, validate_customer",
    "process_payment <- create_order",
)
DIAMOND = graph("probe", "fast <- probe", "thorough <- probe", "cleaned <- fast, thorough")
SHOP = graph(
    "load_config",
    "connect_db <- load_config",
    "fetch_rates <- load_config",
    "fetch_orders <- connect_db",
    "fetch_users <- connect_db",
    "fetch_products <- connect_db",
    "convert_prices <- fetch_rates, fetch_orders",
    "validate_orders <- fetch_orders",
    "enrich_users <- fetch_users",
    "detect_fraud <- validate_orders, enrich_users",
    "reserve_stock <- detect_fraud, fetch_products",
    "charge_cards <- reserve_stock, convert_prices",
    "build_invoices <- charge_cards",
    "send_email <- build_invoices, fetch_users",
    "update_ledger <- charge_cards",
    "notify_warehouse <- reserve_stock",
    "ship_orders <- charge_cards, notify_warehouse",
    "collect_metrics <- update_ledger, ship_orders, detect_fraud",
    "write_report <- collect_metrics, send_email",
    "archive <- write_report, load_config",
)
"""20 nodes, 29 edges, 11 levels."""


def chain(length: int) -> Graph:
    return Graph(
        tuple(f"unit_{node}" for node in range(length)), tuple((node - 1,) if node else () for node in range(length))
    )


def numbered(predecessors: Sequence[Sequence[int]]) -> Graph:
    return Graph(tuple(f"unit_{node}" for node in range(len(predecessors))), tuple(map(tuple, predecessors)))


@st.composite
def graphs(draw: st.DrawFn, *, most: int = 25, density: float = 0.35) -> Graph:
    """Any graph without cycles: names of any width, nodes in any order, and some edges listed twice."""
    size = draw(st.integers(1, most))
    chance = draw(st.floats(0, density))
    dice = draw(st.randoms(use_true_random=False))
    rows = [[source for source in range(node) if dice.random() < chance] for node in range(size)]
    rows = [row + row[:1] * (dice.random() < 0.1) for row in rows]
    names = [f"{dice.choice(WORDS)}_{node}" for node in range(size)]
    order = draw(st.sampled_from([list(range(size)), list(range(size))[::-1]]))
    if draw(st.booleans()):
        dice.shuffle(order)
    place = {node: index for index, node in enumerate(order)}
    return Graph(
        tuple(names[node] for node in order), tuple(tuple(place[source] for source in rows[node]) for node in order)
    )
