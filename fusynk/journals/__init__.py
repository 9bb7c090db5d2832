"""Where runs are recorded, so that they outlive their process."""

from fusynk._core.codec import Codec, Conversion, Sizes
from fusynk._core.envelope import Record
from fusynk._core.journalled import RunSummary
from fusynk.journals.memory import MemoryJournal
from fusynk.journals.sqlite import SqliteJournal

__all__ = ["Codec", "Conversion", "MemoryJournal", "Record", "RunSummary", "Sizes", "SqliteJournal"]
