"""How the runs of a plan are recorded: what codes the artifact of each step, and what tells the plan from others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec

from fusynk._core.codec import ADVICE, ArtifactCodec, Codec, with_article
from fusynk._core.faults import Faults
from fusynk._core.fingerprint import describe_plan, fingerprint_of
from fusynk._core.model import UNSET
from fusynk._core.sameness import difference
from fusynk._core.signature import artifact_annotation
from fusynk._core.unit import Unit
from fusynk._core.wiring import RESOURCES, PlanInput
from fusynk.errors import DamagedJournal, UnrecordableUnit, Unstorable

if TYPE_CHECKING:
    from fusynk._core.program import Program
    from fusynk._core.registry import AnyLayer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """How the runs of a plan are recorded.

    Attributes:
        codec: What codes errors, and knows how large artifacts may be.
        artifacts: What codes the artifact of each step, or of its items; `None` where it cannot outlive the process.
        derived: The steps of which nothing is recorded: they follow from others.
        inputs: What codes each input, by name.
        description: What the plan consists of.
        fingerprint: What tells the plan from others.
    """

    codec: Codec
    artifacts: tuple[ArtifactCodec | None, ...]
    derived: frozenset[int]
    inputs: Mapping[str, ArtifactCodec]
    description: bytes
    fingerprint: str

    def inputs_to_bytes(self, values: Sequence[object]) -> bytes:
        """Return the inputs of a run as bytes.

        Args:
            values: Their values, in the order of the plan's inputs.

        Raises:
            Unstorable: One of them cannot be kept in a journal.
        """
        coded = {
            name: msgspec.Raw(_encoded_input(coder, name, value))
            for (name, coder), value in zip(self.inputs.items(), values, strict=True)
        }
        return msgspec.json.encode(coded)

    def inputs_from_bytes(self, coded: bytes) -> list[object]:
        """Return the inputs of a run, in the order of the plan's inputs.

        Args:
            coded: What `inputs_to_bytes` returned.

        Raises:
            DamagedJournal: It is something else, or of other types than are annotated now.
        """
        try:
            raw = msgspec.json.decode(coded, type=dict[str, msgspec.Raw])
            return [coder.decode(bytes(raw[name])) for name, coder in self.inputs.items()]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
            message = "What the journal holds of the run's inputs cannot be read."
            raise DamagedJournal(message, path="") from error

    def changed_inputs(self, old: Sequence[object], new: Sequence[object]) -> list[str]:
        """Return the names of the inputs that differ.

        Args:
            old: The values that are recorded.
            new: Those that are given.
        """
        named = zip(self.inputs, old, new, strict=True)
        return [name for name, one, other in named if difference(other, one, self.codec.encoders)]


def recording_of(program: "Program", codec: Codec) -> Recording:
    """Return how the runs of a plan are recorded.

    Args:
        program: The plan.
        codec: What codes artifacts.

    Raises:
        InvalidPlan: The annotation of an artifact or an input allows what could not be read back.
    """
    wiring, faults = program.wiring, Faults()
    coder_of = _Coders(codec)
    artifacts: list[ArtifactCodec | None] = [None] * len(wiring.names)
    derived = set(wiring.delays)
    for step in wiring.steps():
        unit = cast("AnyLayer", wiring.layers[step]).unit
        if unit.function is None or (step in wiring.fan_outs and step in program.replaced):
            derived.add(step)
        elif program.bodies[step] not in RESOURCES:
            artifacts[step] = coder_of(artifact_annotation(wiring.functions[step]), faults, unit)
    inputs = {needed.name: _input_coder(coder_of, program, needed, faults) for needed in wiring.inputs}
    faults.raise_all()
    description = describe_plan(program)
    return Recording(
        codec=codec,
        artifacts=tuple(artifacts),
        derived=frozenset(derived),
        inputs=inputs,
        description=description,
        fingerprint=fingerprint_of(description),
    )


class _Coders:
    """What codes values of an annotation; those of one annotation share it."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._made: dict[int, tuple[object, ArtifactCodec | Unstorable]] = {}
        self._plain = codec.of()

    def __call__(self, annotation: object, faults: Faults, unit: Unit, subject: str = "") -> ArtifactCodec:
        if id(annotation) not in self._made:
            self._made[id(annotation)] = annotation, self._made_of(annotation)
        found = self._made[id(annotation)][1]
        if isinstance(found, ArtifactCodec):
            return found
        hint = " An object whose methods are layers is bound by compile_plan(object.layer)." if subject else ""
        faults.add(UnrecordableUnit, unit, f"cannot be recorded{subject}: {found}{hint}")
        return self._plain

    def _made_of(self, annotation: object) -> ArtifactCodec | Unstorable:
        try:
            return self._codec.of(Any if annotation is UNSET else annotation)
        except Unstorable as error:
            return error


def _input_coder(coder_of: _Coders, program: "Program", needed: PlanInput, faults: Faults) -> ArtifactCodec:
    step = program.wiring.index[needed.needed_by[0]]
    unit = cast("AnyLayer", program.wiring.layers[step]).unit
    return coder_of(needed.type, faults, unit, f" with its input {needed.name!r}")


def _encoded_input(coder: ArtifactCodec, name: str, value: object) -> bytes:
    try:
        return coder.encode(value, step=name)
    except Unstorable as error:
        kind = error.type_name
        message = (
            f"The input {name!r} is {with_article(kind)} that cannot be kept in the journal: its value{error.found}. "
            f"Annotate it, and pass what JSON and that type can hold, or {ADVICE}; "
            "an object whose methods are layers is bound by compile_plan(object.layer) instead."
        )
        raise Unstorable(message, step="", type_name=kind, size=error.size, found=error.found) from error
