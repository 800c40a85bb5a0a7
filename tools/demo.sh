#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job in three acts, called by `make demo` (which builds first): use a model, time a layer, train three models.
#   BUILD   build folder with cli/grove and cli/grove-train     TEXT   text file to train on, plain or .zst
#   MINUTES training time of each model (default 1)             What is made is in demo/, which each start empties.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${BUILD:-build/release}
text=${TEXT:-}
valid=
minutes=${MINUTES:-1}
grove=$build/cli/grove
grove_train=$build/cli/grove-train

bold='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
if [ ! -t 2 ]; then export GROVE_PROGRESS=${GROVE_PROGRESS:-lines}; fi
act() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*" | fold -s -w 110; }  # one paragraph
run() { printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"; "$@"; }

# The programs remove their own unfinished files.
trap 'rm -f demo/part demo/*.part; printf "\nStopped. Nothing half-written is left; make demo starts afresh.\n"; exit 130' INT TERM

act "1 of 3: use a model"
shipped=(models/*/)
if [ -f "${shipped[0]}config.json" ]; then
  model=${shipped[0]%/}
  say "The model in $model ships with the source. Each of its feedforward layers is a tree of small networks; a token" \
      "visits only the few leaves that the tree finds most probable for it."
  run "$grove" info --model "$model"
  tools/demo_report.py card "$model"
  run "$grove" fill-mask --model "$model" --top 5 \
    "Water is made of hydrogen and [MASK]." \
    "He was elected [MASK] of the United States." \
    "The band released their first [MASK] in 1994." \
    "The river flows into the [MASK] sea." \
    "She opened the [MASK] and looked out into the garden."
else
  say "There is no model in models/, so this act is left out."
fi

act "2 of 3: the speed of a layer"
say "Width 768, as in BERT-base. Every token has its own random input, and the outputs are compared with the plain" \
    "reference in the same run. Dense 3072 and 4096 are what a tree replaces; dense 128 is a layer as small as the" \
    "neurons that the larger trees compute."
run "$grove" bench layer --threads 1

act "3 of 3: train three models on text"
rm -rf demo
mkdir -p demo
novels=../shared/data/text/novels-100-en
if [ -n "$text" ]; then
  say "Text: $text (its last part is held out)."
elif [ -f "$novels.train.txt.zst" ]; then
  # A minute sees far less than the whole set: its first 12 MB are enough, and packed sooner.
  text=demo/train.txt
  valid=$novels.valid.txt.zst
  zstd --quiet --decompress --long=27 --stdout "$novels.train.txt.zst" 2>/dev/null | head -c 12000000 | sed '$d' >demo/part || true
  mv demo/part "$text"
  say "Text: the first 12 MB of $novels.train.txt.zst; held out is another novel."
else
  text=demo/train.txt
  valid=demo/valid.txt
  tools/plain_english.py --documents 4000 --seed 1 >demo/part && mv demo/part "$text"
  tools/plain_english.py --documents 200 --seed 2 >demo/part && mv demo/part "$valid"
  say "Text: small stories in plain English, written by tools/plain_english.py."
fi
if [ -z "$valid" ]; then
  tools/demo_report.py hold-out "$text" demo/train.txt demo/valid.txt
  text=demo/train.txt valid=demo/valid.txt
fi

echo
say "First a vocabulary of word pieces is learnt, then the text is packed as token ids."
run "$grove_train" tokenizer --text "$text" --vocabulary-size 2048 --output demo/tokenizer.json
run "$grove_train" data --text "$text" --valid-text "$valid" --tokenizer demo/tokenizer.json --output demo/packed

echo
say "Then three encoders learn to fill masked words, alike in everything but the feedforward layer: a leaf tree for" \
    "$minutes min, then a dense layer with as many stored neurons and none at all, each on as many tokens as the tree saw."
train() {
  run "$grove_train" pretrain --config "configs/demo-$1.json" --data demo/packed --output "demo/$1" "${@:2}"
}
train leaf-tree --minutes "$minutes"
tokens=$(tools/demo_report.py tokens demo/leaf-tree)
train dense --tokens "$tokens"
train none --tokens "$tokens"

echo
tools/demo_report.py table demo/leaf-tree demo/dense demo/none
echo
say "The tree that was trained a minute ago, at work:"
sentence=$(tools/demo_report.py sentence "$valid")
run "$grove" fill-mask --model demo/leaf-tree --top 5 "$sentence"

act "Done"
say "Everything is in demo/. Look at the tree, or train longer:"
printf '    %s\n' "$grove info --model demo/leaf-tree" "MINUTES=10 make demo"
