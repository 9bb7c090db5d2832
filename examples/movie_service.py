"""A movie catalogue that has a bad day, and judges its clients. Pure: it is told the time, and opens no socket.

The movies and the troubles come from a seed. Some requests are answered late, some with 429 and a `Retry-After`, some
with 500; a few movies are never served. Every request goes on record, and the records say whether the client kept to
the rate, asked for too much at once, came back too soon, or gave up too early.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from http import HTTPStatus
from itertools import pairwise
from random import Random
from threading import Lock

PAGE = 40  # ids
ALLOWED = 150  # requests in a window
# Clients are told 150 a second. A client counts a request when it starts it; the request arrives when a thread, a
# connection and this server have got to it, which takes some milliseconds, more for one request than for another. So
# what was started in more than a second may arrive in a little less, and the window is shorter by what that may be.
WINDOW = 0.85
AT_ONCE = 4
RETRY_AFTER = 1  # seconds, whole ones as HTTP has it
BUSY, FAILING = HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR
ADJECTIVES = ("Silent", "Crooked", "Golden", "Last", "Paper", "Electric", "Borrowed", "Northern", "Hollow", "Patient")
NOUNS = ("River", "Orchard", "Letter", "Engine", "Summer", "Island", "Machine", "Garden", "Harbour", "Winter")
GENRES = ("comedy", "crime", "documentary", "drama", "fantasy", "thriller")


class Fate(Enum):
    """What becomes of a movie in the end. Most are served; the others never are."""

    SERVED = "served"
    GONE = "always 404"
    BROKEN = "always broken JSON"
    DOWN = "always 500"


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A movie of the catalogue, as its JSON has it."""

    id: int
    title: str
    year: int
    minutes: int
    genres: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Weather:
    """What stands between the requests for a path and the answer.

    Attributes:
        failures: The statuses that the first requests get instead.
        delay: Seconds that each answer takes.
    """

    failures: tuple[HTTPStatus, ...]
    delay: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client."""

    status: HTTPStatus
    body: bytes
    delay: float = 0.0
    retry_after: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request and its answer, with the seconds at which they came and went."""

    path: str
    arrived: float
    answered: float
    answer: Answer


@dataclass(slots=True)
class Records:
    """What the service remembers of its clients.

    Attributes:
        requests: All of them, in the order in which they were answered.
        too_fast: When the rate was exceeded.
        most_at_once: The most requests that were waiting for their answers together.
    """

    requests: list[Request] = field(default_factory=list[Request])
    too_fast: list[float] = field(default_factory=list[float])
    most_at_once: int = 0

    def busiest(self, seconds: float) -> int:
        """Returns the most requests that arrived in any window of that length."""
        arrivals = sorted(request.arrived for request in self.requests)
        first, most = 0, 0
        for last, arrived in enumerate(arrivals):
            while arrived - arrivals[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def statuses(self) -> Mapping[HTTPStatus, int]:
        """Returns how often each status was the answer."""
        return Counter(request.answer.status for request in self.requests)

    def by_path(self) -> Mapping[str, list[Request]]:
        """Returns the requests for each path, in order of arrival."""
        asked: dict[str, list[Request]] = {}
        for request in sorted(self.requests, key=lambda request: request.arrived):
            asked.setdefault(request.path, []).append(request)
        return asked

    def too_soon(self) -> list[str]:
        """Returns the paths that were asked for again before their `Retry-After` was over."""
        return [
            path
            for path, asked in self.by_path().items()
            for former, later in pairwise(asked)
            if later.arrived - former.answered < former.answer.retry_after
        ]

    def given_up(self, attempts: int) -> list[str]:
        """Returns the paths whose last answer was a failure for now, and which were not asked for often enough.

        Args:
            attempts: How often a client should ask before it gives up.
        """
        return [
            path
            for path, asked in self.by_path().items()
            if asked[-1].answer.status in (BUSY, FAILING) and len(asked) < attempts
        ]


class MovieService:
    """The catalogue, its troubles and its records.

    Args:
        items: How many movies there are.
        seed: Decides the movies and the troubles.
        allowed: How many requests it takes in a window.

    Attributes:
        films: The catalogue, by id.
        fates: What becomes of each movie.
        edition: Counts the states of the catalogue, from 1.
        records: What happened since the edition was published.
    """

    def __init__(self, items: int, seed: int, *, allowed: int = ALLOWED) -> None:
        self.seed = seed
        self.allowed = allowed
        ids = sorted(Random(f"{seed}/ids").sample(range(1000, 1000 + 9 * items), items))
        self.films = {number: film(seed, number) for number in ids}
        troubled = (fate for fate in (Fate.GONE, Fate.BROKEN, Fate.DOWN) for _ in range(1 + items // 100))
        unlucky = Random(f"{seed}/fates").sample(ids, 3 * (1 + items // 100))
        self.fates = {**dict.fromkeys(ids, Fate.SERVED), **dict(zip(unlucky, troubled, strict=True))}
        self.edition = 1
        self.records = Records()
        self._lock = Lock()
        self._arrivals: list[float] = []
        self._asked = Counter[str]()
        self._at_once = 0

    def publish(self) -> None:
        """Publishes another edition: every tenth movie or so has changed, some are new, the troubles are others."""
        self.edition += 1
        draw = Random(f"{self.seed}/edition {self.edition}")
        for number, former in self.films.items():
            if draw.random() < 0.1:  # noqa: PLR2004 - a tenth
                self.films[number] = replace(former, minutes=former.minutes + 1, genres=former.genres[:1])
        newest = max(self.films)
        for number in range(newest + 1, newest + 2 + len(self.films) // 50):
            self.films[number] = film(self.seed, number)
            self.fates[number] = Fate.SERVED
        self.records = Records()
        self._asked.clear()

    def served(self) -> Mapping[int, Film]:
        """Returns the movies that a patient client gets, by id."""
        return {number: each for number, each in self.films.items() if self.fates[number] is Fate.SERVED}

    def weather(self, path: str) -> Weather:
        """Returns what stands between the requests for a path and the answer, in this edition."""
        draw = Random(f"{self.seed}/{self.edition}/{path}")
        [failures] = draw.choices(((), (BUSY,), (FAILING,), (FAILING, BUSY)), weights=(80, 9, 9, 2))
        return Weather(failures, draw.uniform(0.05, 0.15) if draw.random() < 0.1 else 0.0)  # noqa: PLR2004 - a tenth

    def begin(self, path: str, now: float) -> Answer:
        """Takes a request and returns its answer, to be sent when its delay is over.

        Args:
            path: What is asked for.
            now: When it arrived.
        """
        with self._lock:
            self._at_once += 1
            self.records.most_at_once = max(self.records.most_at_once, self._at_once)
            self._arrivals = [former for former in self._arrivals if now - former < WINDOW]
            self._arrivals.append(now)
            if len(self._arrivals) > self.allowed:
                self.records.too_fast.append(now)
                return Answer(BUSY, b"too fast", retry_after=RETRY_AFTER)
            self._asked[path] += 1
            attempt = self._asked[path]
        weather = self.weather(path)
        if attempt > len(weather.failures):
            return replace(self._answer(path), delay=weather.delay)
        status = weather.failures[attempt - 1]
        retry_after = RETRY_AFTER if status == BUSY else 0
        return Answer(status, status.phrase.encode(), weather.delay, retry_after)

    def end(self, path: str, arrived: float, answer: Answer, now: float) -> None:
        """Notes that a request is answered now. To be called before the client can see the answer."""
        with self._lock:
            self._at_once -= 1
            self.records.requests.append(Request(path, arrived, now, answer))

    def _answer(self, path: str) -> Answer:
        """Returns what is true of a path, whatever the weather."""
        kind, _, number = path.strip("/").partition("/")
        if path.startswith("/movies?page="):
            return self._page(path.removeprefix("/movies?page="))
        wanted = int(number) if kind == "movies" and number.isdecimal() else 0
        fate = self.fates.get(wanted, Fate.GONE)
        if fate is Fate.GONE:
            return Answer(HTTPStatus.NOT_FOUND, b"Not Found")
        if fate is Fate.DOWN:
            return Answer(FAILING, FAILING.phrase.encode())
        body = json.dumps(asdict(self.films[wanted])).encode()
        return Answer(HTTPStatus.OK, body[: len(body) // 2] if fate is Fate.BROKEN else body)

    def _page(self, number: str) -> Answer:
        """Returns a page of ids, and how many pages and ids there are."""
        ids = list(self.films)
        shown = ids[(int(number) - 1) * PAGE : int(number) * PAGE] if number.isdecimal() and int(number) else []
        if not shown:
            return Answer(HTTPStatus.NOT_FOUND, b"Not Found")
        page = {"pages": -(-len(ids) // PAGE), "total": len(ids), "ids": shown}
        return Answer(HTTPStatus.OK, json.dumps(page).encode())


def film(seed: int, number: int) -> Film:
    """Returns a movie as its first edition has it."""
    draw = Random(f"{seed}/film {number}")
    return Film(
        id=number,
        title=f"The {draw.choice(ADJECTIVES)} {draw.choice(NOUNS)}",
        year=draw.randint(1930, 2025),
        minutes=draw.randint(60, 200),
        genres=tuple(sorted(draw.sample(GENRES, draw.randint(1, 3)))),
    )
