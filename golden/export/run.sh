#!/bin/sh
# Exports folders with this project and checks them with Transformers and PEFT.
#
#     golden/export/run.sh [BASE_FOLDER ...]
#
# Without folders: four golden models, and the cases of check_text.py. PYTHON names an interpreter with golden/requirements.txt.
set -eu
calling=$PWD
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

text=$#
[ $# -gt 0 ] || set -- "$PWD/golden/models/llama3" "$PWD/golden/models/pythia" \
    "$PWD/golden/models/qwen3" "$PWD/golden/models/qwen2"
# With the examples, every crate has the features that the tests enable: other features would build the tensor library again.
cargo build --quiet --workspace --examples --bins
for base in "$@"; do
    case $base in /*) ;; *) base=$calling/$base ;; esac
    echo "== $(basename "$base")"
    "${CARGO_TARGET_DIR:-target}/debug/examples/export" "$base" "$out"
    for kind in model adapter reward reward-adapter; do
        echo "-- $kind"
        set -- "$out/$kind" "$out/$kind.json"
        case $kind in *adapter) set -- "$base" "$@" ;; esac
        "$python" golden/export/check.py "$kind" "$@"
    done
done
if [ "$text" -eq 0 ]; then
    echo "== tokenizer, template and stop tokens"
    "$python" golden/export/check_text.py "${CARGO_TARGET_DIR:-target}/debug/revealed"
fi
echo "all equal"
