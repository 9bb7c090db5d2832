"""Writes `data/faulty_orders.csv`: purchases with one fault each. The same seed gives the same bytes.

python examples/make_faulty.py
"""

import argparse
import csv
import random
from pathlib import Path

DATA = Path(__file__).parent / "data"

BROKEN_VALUES = (
    ("customer_id", "4"),
    ("sample_id", ""),
    ("date", "1997-02-30"),
    ("date", "01/18/1997"),
    ("cds", "two"),
    ("cds", "2.5"),
    ("cds", "-3"),
    ("cds", "0"),
    ("cds", ""),
    ("cds", "٣"),
    ("cds", "1_000"),
    ("cds", "9999999999"),
    ("amount_usd", '"29,33"'),
    ("amount_usd", "$14.96"),
    ("amount_usd", "12.345"),
    ("amount_usd", "1e3"),
    ("amount_usd", "-5.00"),
    ("amount_usd", "nan"),
)


def faulty_rows(purchases: list[dict[str, str]], seed: int) -> list[str]:
    """Returns the faulty lines, shuffled. Each starts as a real purchase, drawn by the seed, and gets one fault."""
    draw = random.Random(seed)
    known = {purchase["customer_id"] for purchase in purchases}
    # The data set numbers 23,570 customers, and the sample holds a tenth of them.
    strangers = [f"{number:05}" for number in range(1, 23_571) if f"{number:05}" not in known]
    faults = [{column: value} for column, value in BROKEN_VALUES]
    faults += [{"customer_id": stranger} for stranger in draw.sample(strangers, 4)]
    # All the CDs of the file together are fewer, so no seed of the shop has as many of one product.
    faults += [{"cds": str(draw.randrange(20_000, 100_000))} for _ in range(4)]
    faults += [{"amount_usd": f"{draw.randrange(1_000, 10_000)}.{draw.randrange(1, 100):02}"} for _ in range(3)]
    rows = [",".join((draw.choice(purchases) | fault).values()) for fault in faults]
    whole = ",".join(draw.choice(purchases).values())
    rows += [whole.rsplit(",", 1)[0], f"{whole},gift", whole.replace(",", ',"', 1), ""]
    draw.shuffle(rows)
    return rows


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description="Write the file of faulty lines.")
    parser.add_argument("--seed", type=int, default=1998, help="decides the lines (default: %(default)s)")
    parser.add_argument("--purchases", type=Path, default=DATA / "cdnow_sample.csv", help="CSV file of purchases")
    parser.add_argument("--output", type=Path, default=DATA / "faulty_orders.csv", help="the file to write")
    options = parser.parse_args()
    with options.purchases.open(encoding="utf-8", newline="") as file:
        purchases = list(csv.DictReader(file))
    lines = [",".join(purchases[0]), *faulty_rows(purchases, options.seed)]
    options.output.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
