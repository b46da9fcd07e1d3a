# Sourced by run_scripts.sh and run_tests.sh: sets PYTHON to a Python that has the packages of
# the requirement files named in REQUIREMENTS. The active environment is used if it has them,
# otherwise .venv is made and filled. A torch that is already in .venv is kept. TORCH chooses
# another torch than the newest, with arguments of pip if needed:
#   TORCH="torch==2.13.0" sh run_scripts.sh

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
    echo "The active Python lacks packages of $REQUIREMENTS: installing into .venv."
    echo "The download is about 400 MB with PyTorch's CPU build, and about 5 GB with the CUDA build that pip chooses on"
    echo "Linux. For the CPU build, install torch into .venv first, with the command that pytorch.org shows."
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
        echo "error: the installation into .venv failed (see above); run this again to continue" >&2
        exit 1
    fi
    if ! "$PYTHON" codes/scripts/check_environment.py $REQUIREMENTS; then
        echo "error: packages are missing in .venv; remove it and run this again" >&2
        exit 1
    fi
    echo "Installed. To use the other commands, activate the environment first: . .venv/bin/activate"
fi
