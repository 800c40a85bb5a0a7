#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The rivals' wheels in an environment of their own, bench/peers/.venv (ignored by git; about 6 GB with PyTorch's CUDA
# libraries, which its wheel on PyPI needs to load). PYTHON: a CPython 3.11 (default python3.11).
set -eu
cd "$(dirname "$0")"
"${PYTHON:-python3.11}" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
