# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The Grove Authors.
"""The parts of tools/study.py. Standard library only."""
