#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install_venv.sh FOLDER REQUIREMENT...: a Python environment with the packages that the tests compare us with, on top of
# Debian's (PyTorch). Without a network it says so and leaves the rest to the tests, which skip what they cannot compare.
set -eu

folder=$1
shift
python=$folder/bin/python
stamp=$folder/installed
if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$*" ]; then exit 0; fi

system_python=/usr/bin/python3
[ -x "$system_python" ] || system_python=python3
"$system_python" -m venv --system-site-packages "$folder"
if log=$("$python" -m pip install --quiet --disable-pip-version-check --no-input --retries 2 "$@" 2>&1 </dev/null); then
  echo "$*" >"$stamp"
else
  printf '%s\n' "$log" | tail -n 1 >&2
  echo "The Python packages $* could not be installed; the tests that compare with them will be skipped." >&2
fi
