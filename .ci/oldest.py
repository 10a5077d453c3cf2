"""Prints pip's constraints for the oldest versions that pyproject.toml declares, one a line.

They hold the packages that are named there, the `test` extra's too; what those need in turn is as
new as they allow, which is what a user gets who keeps one of ours back.
"""

import re
import tomllib
from pathlib import Path

_BOUND = re.compile(r"(?P<name>[\w.-]+)>=(?P<version>[\w.]+)")


def main() -> None:
    """Print them; end with a message if a requirement has no lower bound."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())[
        "project"
    ]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        bound = _BOUND.match(requirement)
        if not bound:
            raise SystemExit(f"'{requirement}' has no lower bound: name the oldest that works")
        print(f"{bound['name']}=={bound['version']}")


if __name__ == "__main__":
    main()
