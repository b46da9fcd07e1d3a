"""Exit with status 0 if this Python has all packages of the given requirement files.

    python codes/scripts/check_environment.py requirements.txt

Prints what is missing or too old. It runs with the standard library alone.
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def unmet(lines: list[str]) -> list[str]:
    """The requirements that are missing or too old here."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ["packaging"]
    found = []
    for requirement in map(Requirement, lines):
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            found.append(str(requirement))
            continue
        if not requirement.specifier.contains(installed.split("+")[0], prereleases=True):
            found.append(f"{requirement} (installed: {installed})")
    return found


def main(files: list[str]) -> int:
    if sys.version_info < (3, 11):
        print(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
        return 1
    missing = unmet([line for file in files for line in Path(file).read_text().split("\n") if line.strip()])
    if missing:
        print("missing: " + ", ".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
