#!/usr/bin/env bash
# The study on SmolLM2-135M of docs/evidence.md: the loop on a strong model's answers, then the learned reward on preference
# files that nothing was tuned on.
#
# Usage: run.sh MODEL DEMONSTRATIONS.jsonl OUT PREFERENCES.jsonl...     (`revealed` on PATH, or REVEALED=its path)
set -euo pipefail
model=$1 demonstrations=$2 out=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
revealed=${REVEALED:-revealed}
mkdir -p "$out"

# Every other answer, so that pairs on the prompts of the rest are new to the reward.
awk 'NR % 2 == 1' "$demonstrations" > "$out/half.jsonl"

resume=()
if [ -d "$out/run/checkpoints" ]; then resume=(--resume); fi
"$revealed" align "$here/recipe.toml" --set model.path="$model" --set data.demonstrations="$out/half.jsonl" \
    --set run.out="$out/run" "${resume[@]}"

# What SFT alone made likelier is the reward that needs no training. Its adapter is in the newest checkpoint.
sft=("$out"/run/checkpoints/*/sft)
"$revealed" eval preferences "$@" --reward "$out/run/reward" --policy "${sft[-1]}" --reference "$model" \
    --exclude "$out/half.jsonl" --max-pairs "${MAX_PAIRS:-200}" --batch-tokens 1024 \
    --scores "$out/scores.jsonl" --table | tee "$out/preferences.md"
