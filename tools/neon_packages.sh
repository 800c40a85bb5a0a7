#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Unpacks the libraries of Debian's arm64 port that grove links into a folder (default build/neon-root), for the preset
# "neon". Nothing is installed, the system's own packages stay as they are; no root is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$(realpath -m "${1:-build/neon-root}")
packages=(libcli11-dev libdnnl-dev libdnnl2 libfmt-dev libfmt9 libgtest-dev libhwy-dev libhwy1 libutf8proc-dev libutf8proc2
  libzstd-dev libzstd1 nlohmann-json3-dev)
[ ! -e "$root/complete" ] || exit 0

work=$root/apt
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/packages"
options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$work/state" -o "Dir::Cache=$work/cache"
  -o Dir::State::status=/dev/null -o Debug::NoLocking=true -o APT::Sandbox::User=)
apt-get "${options[@]}" update
(cd "$work/packages" && apt-get "${options[@]}" download "${packages[@]}")
for package in "$work"/packages/*.deb; do dpkg-deb -x "$package" "$root"; done
rm -rf "$work"
touch "$root/complete"
