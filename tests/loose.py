"""The public names without their types, for tests of what a type checker refuses before Python sees it."""

from typing import Any

import fusynk

compile_plan: Any = fusynk.compile_plan
each: Any = fusynk.each
graph: Any = fusynk.Graph
layer: Any = fusynk.layer
limit: Any = fusynk.Limit
process: Any = fusynk.process
use: Any = fusynk.use
when: Any = fusynk.when
worker: Any = fusynk.worker
