"""What the codec accepts comes back equal and of the same types; what would not is refused with a reason."""

import enum
import math
import re
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Generic, Literal, NamedTuple, TypeVar, Union
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk._core.codec import Codec, Conversion, Sizes
from fusynk.errors import DamagedJournal, StoredError, Unrepeatable, Unstorable

CODEC = Codec()
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Line:
    product: str
    price: Decimal
    count: int = 1


@dataclass
class Order:
    id: UUID
    lines: list[Line]
    placed: datetime
    by_day: dict[date, int] = field(default_factory=dict[date, int])
    colour: Colour = Colour.RED
    note: str | None = None
    raw: bytes = b""


class Point(msgspec.Struct):
    x: float
    y: float


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True):
    side: float


class Box(msgspec.Struct, Generic[T]):
    inside: T


@attrs.define
class Parcel:
    weight: float
    tags: frozenset[str]


class Pair(NamedTuple):
    left: int
    right: str


def back(value: object, annotation: object = Any, codec: Codec = CODEC) -> object:
    coded = codec.of(annotation)
    return coded.decode(coded.encode(value, step="step"))


def refusal(value: object, annotation: object = Any, codec: Codec = CODEC) -> Unstorable:
    with pytest.raises(Unstorable) as caught:
        codec.of(annotation).encode(value, step="pay")
    assert caught.value.step == "pay"
    assert str(caught.value).isprintable()
    return caught.value


# Laws

INTS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
MOMENTS = st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=-5, minutes=30))))
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, INTS),
    (float, FLOATS),
    (str, TEXTS),
    (bool, st.booleans()),
    (None, st.none()),
    (bytes, st.binary()),
    (datetime, MOMENTS),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas(timedelta(-10_000), timedelta(10_000))),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Literal["a", 3], st.sampled_from(["a", 3])),
    (Point, st.builds(Point, FLOATS, FLOATS)),
    (Circle | Square, st.builds(Circle, FLOATS) | st.builds(Square, FLOATS)),
    (Parcel, st.builds(Parcel, FLOATS, st.frozensets(TEXTS, max_size=3))),
    (Pair, st.builds(Pair, INTS, TEXTS)),
    (int | str | None, INTS | TEXTS | st.none()),
]
HASHABLE: list[tuple[Any, st.SearchStrategy[Any]]] = [LEAVES[index] for index in (0, 2, 6, 7, 11, 12)]
Typed = tuple[Any, st.SearchStrategy[Any]]


def containers(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def of_one(typed: Typed) -> st.SearchStrategy[Typed]:
        kind: Any
        kind, values = typed
        made = make_dataclass("Made", [("first", kind), ("second", list[kind])])
        struct: Any = msgspec.defstruct("Formed", [("first", kind), ("second", Union[kind, None])])  # noqa: UP007 - of None
        return st.sampled_from(
            [
                (list[kind], st.lists(values, max_size=3)),
                (tuple[kind, ...], st.lists(values, max_size=3).map(tuple)),
                (tuple[kind, int], st.tuples(values, INTS)),
                (dict[str, kind], st.dictionaries(TEXTS, values, max_size=3)),
                (made, st.builds(made, values, st.lists(values, max_size=2))),
                (struct, st.builds(struct, values, values | st.none())),
                (Box[kind], st.builds(Box, values)),
            ]
        )

    def of_hashable(typed: Typed) -> st.SearchStrategy[Typed]:
        kind: Any
        kind, values = typed
        return st.sampled_from(
            [
                (set[kind], st.sets(values, max_size=3)),
                (frozenset[kind], st.frozensets(values, max_size=3)),
                (dict[kind, int], st.dictionaries(values, INTS, max_size=3)),
            ]
        )

    return inner.flatmap(of_one) | st.sampled_from(HASHABLE).flatmap(of_hashable)


TYPES = st.recursive(st.sampled_from(LEAVES), containers, max_leaves=3)


@given(PLAIN)
def test_plain_json_comes_back_as_it_was_without_an_annotation(value: object) -> None:
    found = back(value)

    assert found == value
    assert repr(found) == repr(value)


@given(PLAIN)
def test_plain_json_comes_back_as_it_was_where_an_object_is_annotated(value: object) -> None:
    assert repr(back(value, object)) == repr(value)
    assert repr(back([value], list[object])) == repr([value])
    assert repr(back({"key": value}, dict[str, object])) == repr({"key": value})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_value_of_its_annotated_type_comes_back_equal_and_of_that_type(draws: st.DataObject) -> None:
    kind, values = draws.draw(TYPES)
    value = draws.draw(values)
    try:
        found = back(value, kind)
    except Unstorable as error:
        # A union whose members look alike in JSON is refused; it does not come back as the other one.
        assert "come back" in str(error) or "cannot be read back" in str(error)  # noqa: PT017 - most are accepted
        return

    assert type(found) is type(value)
    assert found == value
    if not isinstance(value, (set, frozenset)) and "{" not in repr(value):
        assert repr(found) == repr(value)


ANY_VALUE: st.SearchStrategy[Any] = st.recursive(
    st.one_of([values for _, values in LEAVES]) | st.floats() | st.complex_numbers() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXTS | st.integers(), inner, max_size=3)
        | st.builds(Box, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(ANY_VALUE, st.sampled_from(LEAVES), st.booleans())
def test_whatever_is_accepted_for_whatever_annotation_comes_back_the_same(
    value: Any, typed: Typed, in_list: bool
) -> None:
    annotation: Any = list.__class_getitem__(typed[0]) if in_list else typed[0]
    for wanted in (annotation, Any, list, dict, tuple, Box[Any]):
        try:
            found = back(value, wanted)
        except Unstorable:
            continue
        due = as_read(value, wanted)
        assert type(found) is type(due)
        assert found == value
        assert repr(found) == repr(due)


def as_read(value: Any, annotation: Any) -> Any:
    """The value with floats for the ints that stand for them."""
    if annotation == list[float]:
        return [as_read(one, float) for one in value]
    return float(value) if annotation is float and type(value) is int else value


def test_an_int_may_stand_for_a_float() -> None:
    for value, annotation, due in (
        (1, float, 1.0),
        ([1, 2.5], list[float], [1.0, 2.5]),
        ({"a": 3}, dict[str, float], {"a": 3.0}),
        ({1, 2}, set[float], {1.0, 2.0}),
    ):
        found = back(value, annotation)
        assert repr(found) == repr(due)
    with pytest.raises(Unstorable):
        _ = back((1 << 53) + 1, float)
    with pytest.raises(Unstorable):
        _ = back(True, float)


def test_most_ordinary_results_are_accepted() -> None:
    order = Order(
        uuid4(),
        [Line("a", Decimal("1.10")), Line("b", Decimal(2), 3)],
        datetime(2026, 5, 1, 12, tzinfo=UTC),
        {date(2026, 5, 1): 3},
        Colour.BLUE,
        raw=b"\0\xff",
    )
    for value, kind in (
        (order, Order),
        ([order], list[Order]),
        ({"a": order}, dict[str, Order]),
        ((1, "a"), tuple[int, str]),
        ({1: "a"}, dict[int, str]),
        ({1, 2}, set[int]),
        (Box(Box(3)), Box[Box[int]]),
        (Circle(1.5), Circle | Square),
        (None, None),
        (10**30, int),
        ([-(10**30)], Any),
        (3, object),
    ):
        assert back(value, kind) == value


# Refusals


class Text(str):
    __slots__ = ()


NOT_DECIMAL: Any = 1


class Opaque:
    pass


class Gold(Line):
    pass


REFUSED: list[tuple[Any, Any, str]] = [
    ((1, 2), Any, "a tuple would come back as a list"),
    ([(1, 2)], list, r"\[0\]: a tuple would come back as a list"),
    ({1, 2}, Any, "a set would come back as a list"),
    ({1: "a"}, Any, "an int would come back as a str"),
    (math.nan, Any, "a float would come back as None"),
    ([math.inf], list[float], "Expected `float`, got `null`"),
    (math.nan, float | None, "a float would come back as None"),
    (Decimal("NaN"), Decimal, "."),
    (b"x", Any, "a bytes would come back as a str"),
    (date(2026, 1, 1), Any, "a date would come back as a str"),
    (Colour.RED, Any, "a Colour would come back as a str"),
    (Level.LOW, int, "a Level would come back as an int"),
    (True, float, "Expected `float`, got `bool`"),
    ("3", int, "Expected `int`, got `str`"),
    (Line("a", Decimal(1)), Any, "a Line would come back as a dict"),
    (Gold("a", Decimal(1)), Line, "a Gold would come back as a Line"),
    ({"a": Line("a", NOT_DECIMAL)}, dict[str, Line], r"\['a'\]\.price: an int would come back as a Decimal"),
    (OrderedDict(a=1), dict[str, int], "an OrderedDict would come back as a dict"),
    (defaultdict(int, a=1), dict[str, int], "a defaultdict would come back as a dict"),
    (Text("a"), str, "it holds an object of a type"),
    ("\ud800", str, "."),
    (Opaque(), Any, "it holds an object of a type that the codec does not know"),
    (Opaque, Any, "it holds an object of a type"),
    (len, Any, "it holds an object of a type"),
    (Fraction(1, 3), Any, "it holds an object of a type"),
    (1j, Any, "it holds an object of a type"),
    ((n for n in "ab"), Any, "it holds an object of a type"),
    (datetime(2026, 5, 1, tzinfo=ZoneInfo("Europe/Berlin")), datetime, "the zone 'Europe/Berlin'.*to UTC with"),
    ({1, 2.0}, set[int], "."),
    (bytearray(b"x"), bytes, "a bytearray would come back as a bytes"),
]


@pytest.mark.parametrize(("value", "annotation", "told"), REFUSED)
def test_what_would_come_back_as_something_else_is_refused(value: object, annotation: object, told: str) -> None:
    error = refusal(value, annotation)

    assert re.search(told, str(error))
    assert re.search(
        "^'pay' returned an? .* that cannot be kept in the journal: its value.*the journal a Conversion", str(error)
    )
    assert error.type_name == type(value).__qualname__
    assert isinstance(error, Unrepeatable)


def test_what_refers_to_itself_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    for value in (circle, deep):
        assert "nested too deeply, or holds itself" in str(refusal(value))


def test_an_attribute_that_is_no_field_is_not_lost_in_silence() -> None:
    order = Order(uuid4(), [], datetime(2026, 1, 1))  # noqa: DTZ001 - without a zone, it comes back without
    vars(order)["secret"] = 3

    assert ".secret: it is no field of Order" in str(refusal(order, Order))


def test_a_cached_property_is_computed_anew() -> None:
    assert isinstance(Cached, type)
    value = Cached(3)
    assert value.double == 6

    found = back(value, Cached)

    assert found == value
    assert "double" not in vars(found)


@dataclass
class Cached:
    x: int

    @cached_property
    def double(self) -> int:
        return 2 * self.x


@dataclass
class Counting:
    x: int

    def __post_init__(self) -> None:
        self.x += 1


@dataclass
class Exploding:
    x: int

    def __post_init__(self) -> None:
        if self.x == 2:
            raise ZeroDivisionError("boom")


def test_classes_that_change_what_they_are_given_are_noticed() -> None:
    assert ".x: it would come back as another value" in str(refusal(Counting(1), Counting))
    exploding = Exploding(1)
    exploding.x = 2
    assert isinstance(refusal(exploding, Exploding).__cause__, ZeroDivisionError)


@pytest.mark.parametrize("annotation", [Line | Order, Circle | Line, int | Box[int] | Line | Order])
def test_a_union_that_cannot_be_told_apart_is_refused_before_anything_runs(annotation: Any) -> None:
    with pytest.raises(Unstorable, match=r"cannot be read back from a journal.*structs with tags") as caught:
        CODEC.of(annotation)

    assert caught.value.step == ""


def test_an_annotation_that_is_no_type_is_refused() -> None:
    with pytest.raises(Unstorable, match="cannot be read back"):
        CODEC.of(3)


# Conversions

MONEY = Conversion(Fraction, lambda value: [value.numerator, value.denominator], lambda parts: Fraction(*parts))


@given(st.fractions())
def test_a_conversion_stores_other_types(value: Fraction) -> None:
    codec = Codec([MONEY])
    if abs(value.numerator) < 2**63 and value.denominator < 2**63:
        assert back(value, Fraction, codec) == value
        assert back({"a": [value]}, dict[str, list[Fraction]], codec) == {"a": [value]}
        assert "would come back as a list" in str(refusal(value, Any, codec))


def test_a_conversion_that_fails_is_told() -> None:
    wrong = Codec([Conversion(Fraction, str, lambda text: Fraction(text) + 1)])
    assert "would come back as another value" in str(refusal(Fraction(1, 3), Fraction, wrong))
    raising = Codec([Conversion(Fraction, lambda _: 1 // 0, Fraction)])
    assert isinstance(refusal(Fraction(1, 3), Fraction, raising).__cause__, ZeroDivisionError)


# Sizes


def test_an_artifact_above_the_limit_is_refused_with_its_size() -> None:
    just = "x" * (1 << 20)
    error = refusal(just)

    assert error.size == (1 << 20) + 2
    assert "'pay' returned a str of 1,048,578 bytes, and the journal keeps at most 1,048,576." in str(error)
    assert back(just[:-2]) == just[:-2]
    assert back(just, Any, Codec(sizes=Sizes(most=1 << 21))) == just


def test_a_large_artifact_is_noted() -> None:
    sizes = Sizes()
    assert not sizes.is_large(bytes(1 << 18))
    assert sizes.is_large(bytes((1 << 18) + 1))


# Errors


class Declined(Exception):
    pass


class Coded(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


def error_back(error: BaseException) -> BaseException:
    return CODEC.decode_error(CODEC.encode_error(error))


@pytest.mark.parametrize(
    "error",
    [
        Declined("no funds", 3, None, 1.5),
        Declined(),
        ValueError("x"),
        KeyError("k"),
        OSError(2, "gone"),
        TimeoutError(),
    ],
)
def test_an_ordinary_error_comes_back_as_what_it_was(error: Exception) -> None:
    error.add_note("a note")
    found = error_back(error)

    assert type(found) is type(error)
    assert (found.args, str(found), found.__notes__) == (error.args, str(error), ["a note"])


def with_attribute() -> Exception:
    error = Declined("x")
    vars(error)["code"] = 3
    return error


def of_a_lost_class() -> Exception:
    lost: type[Exception] = type("Lost", (Exception,), {})
    return lost("x")


@pytest.mark.parametrize(
    "error",
    [
        Coded(3),
        FileNotFoundError(2, "gone", "file"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        ExceptionGroup("two", [ValueError(1)]),
        Declined(object()),
        Declined((1, 2)),
        Declined(math.nan),
        Declined("\ud800"),
        with_attribute(),
        of_a_lost_class(),
        SystemExit(3),
    ],
)
def test_another_error_is_stood_for_by_what_it_said(error: BaseException) -> None:
    found = error_back(error)

    assert isinstance(found, StoredError)
    kind = type(error)
    assert found.type_name == f"{kind.__module__}.{kind.__qualname__}"
    assert found.text == str(error).encode("utf-8", "backslashreplace").decode()
    assert str(found) == f"{found.type_name}: {found.text}"


def test_an_error_that_cannot_be_printed_is_kept_all_the_same() -> None:
    assert "<it cannot be printed>" in str(error_back(Unprintable()))


@pytest.mark.parametrize(
    "payload",
    [
        b'["os","system","",[],["true"]]',
        b'["builtins","eval","",[],["1"]]',
        b'["subprocess","Popen","",[],["true"]]',
        b'["no.such.module","Error","",[],["x"]]',
        b'["builtins","SystemExit","",[],[1]]',
        b'["tests.journals.test_codec","Coded","",[],[1]]',
    ],
)
def test_a_hostile_record_of_an_error_imports_and_calls_nothing(payload: bytes) -> None:
    assert isinstance(CODEC.decode_error(payload), StoredError)


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"{}", b'["a"]', b'["a","b","c",[],[[1]]]', b"\xff"])
def test_a_payload_of_something_else_is_damage(payload: bytes) -> None:
    with pytest.raises(DamagedJournal):
        CODEC.decode_error(payload)
    with pytest.raises(DamagedJournal, match="restore the annotation"):
        CODEC.of(Order).decode(payload)
