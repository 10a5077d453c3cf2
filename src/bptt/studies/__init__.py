"""Studies: settings x seeds, trained and kept, as one answer."""

from bptt.studies.declaration import Panel
from bptt.studies.execution import Results
from bptt.studies.study import Study, load

__all__ = ["Panel", "Results", "Study", "load"]
