"""Writes the hunts that every report has inside: python docs/hunts.py (about two minutes)."""

import json
from pathlib import Path

import bptt.lab
from bptt.lab.hunting import computed, mistakes

TARGET = Path(bptt.lab.__file__).parent / "static" / "hunts.json"

if __name__ == "__main__":
    found = {
        cell: {name: computed(cell, name) for name in names} for cell, names in mistakes().items()
    }
    TARGET.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")
