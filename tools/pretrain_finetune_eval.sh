#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From text to a table: learn a vocabulary, pretrain a small encoder, fine-tune it for GLUE tasks, print their scores.
# With a GPU it is meant to take under 10 minutes; without one the defaults are smaller: about 3 minutes on two cores.
#   BUILD     build folder with cli/grove-train                (build/cuda if it is there, else build/release)
#   DATA      folder with text/ and glue/, see docs/finetune.md (../shared/data)
#   OUTPUT    folder for everything made, emptied at the start  (build/pretrain-finetune-eval)
#   TASKS     GLUE tasks                                        (SST-2 CoLA)
#   DEVICE    cuda or cpu                                       (cuda where nvidia-smi finds a GPU)
#   MINUTES   of pretraining                                    (GPU: 3, CPU: 1)
#   CONFIG    of pretraining         (GPU: configs/small-leaf-tree.json, CPU: configs/demo-leaf-tree.json)
#   LENGTH    tokens of a text, at most                         (GPU: 128, CPU: 64)
#   VOCABULARY  word pieces                                     (GPU: 6144, CPU: 2048)
#   TEXT_MB   megabytes of text to use, 0 for all               (GPU: 0, CPU: 12)
#   EPOCHS    of fine-tuning                                    (GPU: 5, CPU: 2)
#   SEEDS     fine-tunings of each task, the median counts      (1)
#   MAX_EXAMPLES  training rows of a task, 0 for all            (GPU: 0, CPU: 20000)
#   RATE      of fine-tuning; small models want more than the recipe's 4e-5   (GPU: 3e-4, CPU: 1e-3)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=${DEVICE:-$(nvidia-smi -L >/dev/null 2>&1 && echo cuda || echo cpu)}
if [ "$device" = cuda ]; then
  minutes=${MINUTES:-3} config=${CONFIG:-configs/small-leaf-tree.json} vocabulary=${VOCABULARY:-6144} megabytes=${TEXT_MB:-0}
  length=${LENGTH:-128} epochs=${EPOCHS:-5} examples=${MAX_EXAMPLES:-0} rate=${RATE:-3e-4}
else
  minutes=${MINUTES:-1} config=${CONFIG:-configs/demo-leaf-tree.json} vocabulary=${VOCABULARY:-2048} megabytes=${TEXT_MB:-12}
  length=${LENGTH:-64} epochs=${EPOCHS:-2} examples=${MAX_EXAMPLES:-20000} rate=${RATE:-1e-3}
fi
build=${BUILD:-$([ -x build/cuda/cli/grove-train ] && echo build/cuda || echo build/release)}
data=${DATA:-../shared/data}
output=${OUTPUT:-build/pretrain-finetune-eval}
tasks=${TASKS:-SST-2 CoLA}
grove_train=$build/cli/grove-train
if [ ! -t 2 ]; then export GROVE_PROGRESS=${GROVE_PROGRESS:-lines}; fi

fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }
[ -x "$grove_train" ] || fail "there is no $grove_train; build it (make test, or DEVELOPING.md for a GPU) or set BUILD"
[ -d "$data/glue" ] && [ -d "$data/text" ] || fail "$data has no text/ and glue/; set DATA (docs/finetune.md says what they hold)"
start=$SECONDS
step() { printf '\n[%d:%02d] $ %s\n' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)) "$*"; "$@"; }

rm -rf "$output"
mkdir -p "$output"
train=("$data"/text/*.train.txt.zst) valid=("$data"/text/*.valid.txt.zst)
if [ "$megabytes" != 0 ]; then
  # The beginning of each file, cut at a line's end. zstd is stopped by the closed pipe, which is no failure.
  for i in "${!train[@]}"; do
    { zstd --quiet --decompress --long=27 --stdout "${train[i]}" 2>/dev/null || true; } |
      head -c $((megabytes * 1000000 / ${#train[@]})) | sed '$d' >"$output/text-$i.txt"
    [ -s "$output/text-$i.txt" ] || fail "${train[i]} could not be unpacked; install zstd or set TEXT_MB=0"
    train[i]=$output/text-$i.txt
  done
fi

step "$grove_train" tokenizer --text "${train[@]}" --vocabulary-size "$vocabulary" --output "$output/tokenizer.json"
step "$grove_train" data --text "${train[@]}" --valid-text "${valid[@]}" --tokenizer "$output/tokenizer.json" \
  --output "$output/packed"
step "$grove_train" pretrain --config "$config" --data "$output/packed" --output "$output/pretrained" --minutes "$minutes" \
  --length "$length" --device "$device"
for task in $tasks; do
  step "$grove_train" finetune --model "$output/pretrained" --task "$task" --data "$data/glue" --output "$output/tasks/$task" \
    --epochs "$epochs" --seeds "${SEEDS:-1}" --max-examples "$examples" --learning-rate "$rate" --device "$device"
done
step "$grove_train" eval --model "$output/tasks" --glue "$data/glue" --device "$device" --output "$output/glue.json" \
  --predictions "$output/predictions"
printf '\nThe whole took %d min %d s. The models are in %s/tasks, the table in %s/glue.json.\n' \
  $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)) "$output" "$output"
