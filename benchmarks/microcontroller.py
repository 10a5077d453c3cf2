"""An exported C file on an emulated Cortex-M4 with 64 KB of flash and 4 KB of memory.

Debian has what it needs as gcc-arm-none-eabi and qemu-system-arm. QEMU's board mps2-an386 counts
one instruction a nanosecond under `-icount shift=0`, which the board's timer of 25 MHz measures; an
instruction of a true processor takes one cycle or several.
"""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
HARNESS = Path(__file__).with_suffix(".c")
PROCESSOR = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
WARNINGS = ("-std=gnu99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
BUILD = ("-O2", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-nostartfiles",
         "--specs=nosys.specs")  # fmt: skip
FLASH, MEMORY, TIMED = 64 * 1024, 4 * 1024, 1000
TICK = 40  # instructions a tick of the timer
MAP = f"""
MEMORY {{
    FLASH (rx) : ORIGIN = 0, LENGTH = {FLASH}
    RAM (rw) : ORIGIN = 0x20000000, LENGTH = {MEMORY}
}}
stack_top = ORIGIN(RAM) + LENGTH(RAM);
SECTIONS {{
    .text : {{ KEEP(*(.vectors)) *(.text*) }} > FLASH
    .rodata : {{ *(.rodata*) . = ALIGN(4); }} > FLASH
    data_from = LOADADDR(.data);
    .data : {{ data_start = .; *(.data*) . = ALIGN(4); data_end = .; }} > RAM AT> FLASH
    .bss : {{ bss_start = .; *(.bss*) *(COMMON) . = ALIGN(4); bss_end = .; }} > RAM
    /DISCARD/ : {{ *(.ARM.exidx*) *(.ARM.extab*) }}
}}
"""


@dataclass(frozen=True)
class Found:
    """What a network did there.

    outputs (N, T, O), or the numbers of the classes (N,); instructions a step; bytes: code and
    constants of the network itself, flash of the whole program with the C library's functions and
    the inputs, variables (data and bss), and stack.
    """

    outputs: NDArray[np.float32 | np.int64]
    instructions: float
    code: int
    constants: int
    flash: int
    variables: int
    stack: int


def missing() -> str:
    """What is not here, in words; '' if all is."""
    lacking = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]
    return f"{' and '.join(lacking)} not installed" if lacking else ""


def _said(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stderr or done.stdout)[:2000]}")
    return done.stdout or done.stderr  # the emulator speaks on the latter


def _symbols(folder: Path) -> tuple[int, int]:
    """Bytes of the network's own functions and constants in the program."""
    code = constants = 0
    for line in _said(["arm-none-eabi-nm", "--print-size", "net.elf"], folder).splitlines():
        found = re.fullmatch(r"\w+ (\w+) (\w) net_\w+", line)
        if found:
            code += int(found[1], 16) * (found[2] in "tT")
            constants += int(found[1], 16) * (found[2] in "rR")
    return code, constants


def run(source: str, x: NDArray[np.floating], classes: bool = False) -> Found:
    """Build and run an exported file (name `net`) on inputs x (N, T, D), reset before each of N.

    classes: tell the class after the last step (`net_class`), not the outputs of all.
    """
    cases, steps, width = x.shape
    rows = np.asarray(x, np.float32).reshape(-1, width)
    values = ",\n".join(f"{{ {', '.join(f'{float(v).hex()}f' for v in row)} }}" for row in rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.h").write_text(
            f"{source}\n#define CASES {cases}u\n#define STEPS {steps}u\n"
            f"static const float inputs[CASES * STEPS][NET_INPUTS] = {{\n{values}\n}};\n"
        )
        (folder / "net.ld").write_text(MAP)
        given = [f'-DNETWORK="{folder / "net.h"}"', f"-DTIMED={TIMED}", *["-DCLASSES"] * classes]
        _said([COMPILER, *PROCESSOR, *WARNINGS, *BUILD, *given, "-T", "net.ld", "-o", "net.elf",
               str(HARNESS), "-lm"], folder)  # fmt: skip
        said = _said(
            [EMULATOR, "-machine", "mps2-an386", "-icount", "shift=0", "-display", "none",
             "-semihosting-config", "enable=on,target=native", "-kernel", "net.elf"], folder
        )  # fmt: skip
        sizes = _said(["arm-none-eabi-size", "net.elf"], folder).splitlines()[1].split()
        code, constants = _symbols(folder)
    *told, ticks, stack = (int(line) for line in said.split())
    text, data, bss = (int(size) for size in sizes[:3])
    bits = np.array(told, np.uint32)
    outputs = bits.astype(int) if classes else bits.view(np.float32).reshape(cases, steps, -1)
    instructions = ticks * TICK / TIMED
    return Found(outputs, instructions, code, constants, text + data, data + bss, stack)
