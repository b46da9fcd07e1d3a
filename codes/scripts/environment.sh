# Sourced by run_scripts.sh and run_tests.sh: sets PYTHON to a Python that has the packages of
# the requirement files named in REQUIREMENTS. The environment that is active is used as it is
# if it has them, otherwise .venv is made and filled. A torch that .venv holds already is kept;
# TORCH names another than the newest, e.g. TORCH="torch==2.13.0".

check() {
    "$1" codes/scripts/check_environment.py $REQUIREMENTS >/dev/null 2>&1
}

PYTHON=
for candidate in python python3 .venv/bin/python; do
    if command -v "$candidate" >/dev/null 2>&1 && check "$candidate"; then
        PYTHON=$candidate
        break
    fi
done

if [ -z "$PYTHON" ]; then
    echo "The active Python lacks some of what $REQUIREMENTS ask for: installing into .venv"
    if [ ! -x .venv/bin/python ] && ! python3 -m venv .venv; then
        echo "error: python3 -m venv .venv failed; Python 3.11 or newer with venv and pip is needed" >&2
        exit 1
    fi
    PYTHON=.venv/bin/python
    requirements=
    for file in $REQUIREMENTS; do
        requirements="$requirements -r $file"
    done
    # Not quoted: both may hold several words.
    if ! { "$PYTHON" -m pip install --quiet ${TORCH:-torch} && "$PYTHON" -m pip install --quiet $requirements; }; then
        echo "error: the installation into .venv failed (see above); it goes on where it stopped when run again" >&2
        exit 1
    fi
    if ! "$PYTHON" codes/scripts/check_environment.py $REQUIREMENTS; then
        echo "error: .venv does not hold what is needed; remove it and run this again" >&2
        exit 1
    fi
fi
