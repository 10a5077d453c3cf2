"""What holds for all tests."""

import signal

# Whoever runs the tests in the background of a shell has them started with Ctrl-C ignored, which
# commands then respect; the tests that send it expect the usual.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
