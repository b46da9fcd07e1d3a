"""Exit with status 0 if this Python has all packages of the given requirement files, else name those that it lacks.

python codes/scripts/check_environment.py requirements.txt
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement


def is_met(requirement: Requirement) -> bool:
    """True if the package is installed and new enough."""
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    lines = [line for file in sys.argv[1:] for line in Path(file).read_text().splitlines()]
    wanted = [f"Python 3.11 or newer, not {sys.version.split()[0]}"] if sys.version_info < (3, 11) else []
    wanted += [line for line in lines if line[:1] not in ("", "#") and not is_met(Requirement(line))]
    sys.exit(f"needed: {', '.join(wanted)}" if wanted else 0)
