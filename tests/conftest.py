"""What holds for all tests."""

import signal

from bptt.kernels.machine import library

# Whoever runs the tests in the background of a shell, or under nohup, has them started with these
# signals ignored, which commands then respect; the tests that send them expect the usual.
_USUAL = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}  # no SIGHUP on Windows
for _name, _handler in _USUAL.items():
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# Kernels are compiled in the processes of the tests, which are as many as there are processors:
# each process that compiled some for them would begin with Numba, a quarter of the work.
library.MOST_BUILDERS = 0
