"""Studies: settings x seeds, trained and kept, as one answer."""

from bptt.studies.data import Data
from bptt.studies.declaration import Panel
from bptt.studies.execution import Results
from bptt.studies.study import Study, load

__all__ = ["Data", "Panel", "Results", "Study", "load"]
