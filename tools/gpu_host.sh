#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# grove-train on a GPU host that has CUDA and PyTorch's wheel but none of our packages, and perhaps no network:
#   tools/gpu_host.sh packages PREFIX           on a Debian machine: unpacks what is missing there into PREFIX (5 MB, to be carried over)
#   tools/gpu_host.sh build PREFIX [TARGET...]  on the host: builds grove-train (or TARGETs) in BUILD
#   tools/gpu_host.sh pack PREFIX TEXT PACKED   on the host: TEXT/*.train.txt.zst and *.valid.txt.zst to the study's packed text
# BUILD: build folder (build/cuda). Programs then run with LD_LIBRARY_PATH=PREFIX/usr/lib/x86_64-linux-gnu.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n 's/^#   //p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
command=$1 prefix=$(realpath -m "$2")
build=${BUILD:-build/cuda}
export LD_LIBRARY_PATH=$prefix/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

case $command in
  packages)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get -qq -o APT::Sandbox::User= download libhwy-dev libhwy1 libutf8proc-dev libutf8proc2 libzstd-dev libzstd1)
    mkdir -p "$prefix"
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$prefix"; done
    rm -rf "$prefix/usr/share"
    find "$prefix" -name '*.a' -delete
    ;;
  build)
    torch=$(python3 -c 'import torch; print(torch.utils.cmake_prefix_path)')
    cmake --preset cuda -B "$build" -DGROVE_TESTS="${GROVE_TESTS:-OFF}" -DCMAKE_PREFIX_PATH="$torch;$prefix/usr"
    cmake --build "$build" --target "${@:3}" $([ $# -gt 2 ] || echo grove-train)
    ;;
  pack)
    [ $# -eq 4 ] || usage
    text=$3 packed=$4
    [ -f "$packed.tokenizer.json" ] ||
      "$build/cli/grove-train" tokenizer --text "$text"/*.train.txt.zst --vocabulary-size 8192 --output "$packed.tokenizer.json"
    "$build/cli/grove-train" data --text "$text"/*.train.txt.zst --valid-text "$text"/*.valid.txt.zst \
      --tokenizer "$packed.tokenizer.json" --output "$packed"
    ;;
  *) usage ;;
esac
