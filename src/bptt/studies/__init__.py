"""Studies: settings x seeds, trained and kept, as one answer."""

from bptt.studies.declaration import Panel, Study
from bptt.studies.execution import Results, load

__all__ = ["Panel", "Results", "Study", "load"]
