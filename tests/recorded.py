"""What tests of telemetry share: looking at recorded spans, and checking what must hold of them in every case."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from fusynk.telemetry.recording import Figure, Recording

STATES = {"succeeded", "failed", "skipped", "cancelled"}


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def layer_of(span: ReadableSpan) -> str:
    """The step or item that a span is of; empty for that of a plan."""
    return str(attributes_of(span).get("fusynk.layer.name", ""))


def state_of(span: ReadableSpan) -> str:
    return str(attributes_of(span).get("fusynk.layer.state", ""))


def is_error(span: ReadableSpan) -> bool:
    return span.status.status_code == StatusCode.ERROR


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def spans_named(recording: Recording, name: str) -> list[ReadableSpan]:
    return [span for span in recording.spans if span.name == name]


def span_named(recording: Recording, name: str) -> ReadableSpan:
    """The one span of this name."""
    [found] = spans_named(recording, name)
    return found


def parent_name(recording: Recording, span: ReadableSpan) -> str | None:
    """The name of the span around this one, or `None` if there is none that was recorded."""
    names = {id_of(one): one.name for one in recording.spans}
    return None if span.parent is None else names.get(span.parent.span_id)


def links_of(recording: Recording, span: ReadableSpan) -> dict[str, str]:
    """For each dependency that a span links to, the name of the span it links to."""
    names = {id_of(one): one.name for one in recording.spans}
    return {str((link.attributes or {})["fusynk.dependency"]): names[link.context.span_id] for link in span.links}


def figure(recording: Recording, name: str, **attributes: str) -> Figure:
    """The one figure of a metric whose attributes end so: `layer_name="pay"` for `fusynk.layer.name`."""
    wanted = {f"fusynk.{key.replace('_', '.')}": value for key, value in attributes.items()}
    [found] = [
        one for one in recording.figures if one.name == name and wanted.items() <= _texts(one.attributes).items()
    ]
    return found


def _texts(attributes: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in attributes.items()}


def assert_whole(recording: Recording) -> None:
    """What holds of every recording: all that started has ended, children lie within their parents, sums are even."""
    assert recording.unfinished == ()
    identities = [id_of(span) for span in recording.spans]
    assert len(set(identities)) == len(identities)
    by_id = {id_of(span): span for span in recording.spans}
    for span in recording.spans:
        assert span.end_time is not None
        assert span.start_time is not None
        around = by_id.get(span.parent.span_id) if span.parent is not None else None
        if around is not None:
            assert (around.start_time or 0) <= span.start_time
            assert span.end_time <= (around.end_time or 0)
        if not span.name.startswith("plan "):
            assert around is not None, f"{span.name} is an orphan"
            assert state_of(span) in STATES
            assert is_error(span) <= (state_of(span) == "failed")
        assert span.events == ()
        assert span.status.description is None
    for name in ("fusynk.layer.running", "fusynk.layer.pending"):
        assert [one.value for one in recording.figures if one.name == name and one.value] == []
