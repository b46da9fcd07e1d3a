#!/bin/sh
# Run the tests:  sh run_tests.sh [pytest arguments]
# The long ones are left out;  sh run_tests.sh -m slow  runs those.
set -eu
cd "$(dirname "$0")"

REQUIREMENTS="requirements.txt tests/requirements.txt"
. codes/scripts/environment.sh

"$PYTHON" -m ruff check .
"$PYTHON" -m pytest -n 2 --dist worksteal "$@"
