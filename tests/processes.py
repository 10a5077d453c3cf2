"""Commands of `bptt` in processes of their own, to be killed, signalled and waited for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def start(arguments: Sequence[object], path: Path) -> subprocess.Popen[str]:
    """Start `bptt` in a process group of its own; wait until a file is there, or it has ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bptt", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for(process, path)
    return process


def wait_for(process: subprocess.Popen[str], path: Path) -> None:
    """Wait until a file is there, or the process has ended."""
    while process.poll() is None and not path.exists():
        time.sleep(0.002)


def wait_until(true: Callable[[], object]) -> None:
    """Wait until something is true, a minute at most."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def terminated(process: subprocess.Popen[str], true: Callable[[], object]) -> tuple[str, str]:
    """Send SIGTERM once something is true; what is printed, and on standard error."""
    try:
        wait_until(lambda: true() or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        return process.communicate(timeout=60)
    finally:
        process.kill()


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the end, which must be a good one."""
    _, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the command failed: {errors}")


def kill(process: subprocess.Popen[str]) -> bool:
    """Kill a command with all its processes; whether it was still running. It is an error if it
    had failed."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the command failed: {errors}")
    return process.returncode == -signal.SIGKILL
