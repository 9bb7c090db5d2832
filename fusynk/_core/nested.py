"""A plan as a function: what `layer(plan)` declares."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from fusynk._core.model import UNSET
from fusynk._core.wiring import PlanInput

A_co = TypeVar("A_co", covariant=True)


@runtime_checkable
class PlanLike(Protocol[A_co]):
    """What can be one step of another plan: a `Plan`."""

    def as_function(self) -> Callable[..., Coroutine[Any, Any, A_co]]:
        """Return an async function of the plan's inputs that runs it and returns its result."""
        ...


class PlanFunction(Generic[A_co]):
    """Calls a plan with its inputs as keywords.

    Args:
        run: Runs the plan and returns its result.
        name: The function's name, empty where the plan has no single target.
        inputs: The plan's inputs.
        returns: The type of its result, or `UNSET`.
    """

    def __init__(
        self, run: Callable[..., Coroutine[Any, Any, A_co]], name: str, inputs: Mapping[str, PlanInput], returns: object
    ) -> None:
        self._run = run
        self.__name__ = name or "<lambda>"
        self.__annotations__ = {} if returns is UNSET else {"return": returns}
        self.__signature__ = inspect.Signature([_parameter(needed) for needed in inputs.values()])

    async def __call__(self, **inputs: object) -> A_co:
        """Run the plan once and return its result."""
        return await self._run(**inputs)


def _parameter(needed: PlanInput) -> inspect.Parameter:
    return inspect.Parameter(
        needed.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if needed.default is UNSET else needed.default,
        annotation=inspect.Parameter.empty if needed.type is UNSET else needed.type,
    )
