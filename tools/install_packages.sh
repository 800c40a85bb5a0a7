#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install_packages.sh PACKAGE...: installs those of the Debian packages that are missing; silent if none is.
set -eu

if ! command -v dpkg-query >/dev/null; then
  echo "This is not a Debian machine: make sure that the equivalents of these packages are installed: $*" >&2
  exit 0
fi

missing=""
for package in "$@"; do
  dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  sudo=""
elif command -v sudo >/dev/null; then
  sudo="sudo"
else
  echo "These Debian packages are missing; install them as root, then run make again: apt-get install$missing" >&2
  exit 1
fi

echo "Installing missing Debian packages:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  # shellcheck disable=SC2086  # a list of words on purpose
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -o Dpkg::Use-Pty=0 \
    -o Acquire::Retries=3 $missing
}
# The package lists of an image are often missing or old.
if ! { $sudo apt-get update -o Acquire::Retries=3 && install; } >"$log" 2>&1 </dev/null; then
  tail -n 20 "$log" >&2
  echo "The packages could not be installed (see above); install them by hand, then run make again: apt-get install$missing" >&2
  exit 1
fi
