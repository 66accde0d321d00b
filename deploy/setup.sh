#!/bin/sh
# Create .venv from requirements.lock, every file checked against its hash, and install this project into it.
# Uses uv if it is there, else Python's own venv and pip. PYTHON chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
        if [ -n "$candidate" ] && new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "Leadline needs Python 3.11 or newer; none is on PATH. Set PYTHON=/path/to/python3." >&2
    exit 1
}

# PYTHONPATH or an activated environment must not decide what ends up in ours.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV || true

python=.venv/bin/python
if ! new_enough "$python"; then
    interpreter=$(find_python)
    rm -rf .venv
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "$(command -v "$interpreter")" .venv
    elif ! "$interpreter" -m venv .venv; then
        echo "Python has no venv module here (Debian and Ubuntu: apt install python3-venv), and uv is not installed." >&2
        exit 1
    fi
fi

echo "installing what requirements.lock pins into .venv ..." >&2
if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
elif command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --python "$python" --require-hashes -r requirements.lock
    uv pip install --quiet --python "$python" --no-deps --no-build-isolation --offline -e .
else
    echo "There is neither pip in .venv nor uv on PATH; remove .venv and try again." >&2
    exit 1
fi
touch .venv/.ready
