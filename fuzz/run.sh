#!/bin/sh
# Fuzzes everything that is read from outside: `fuzz/run.sh [SECONDS [TARGET ...]]`, 60 seconds a target unless told otherwise.
#
# Needs cargo-fuzz (`cargo install cargo-fuzz`) and a C++ compiler; the stable toolchain is enough, since no sanitizer is used.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- model adapter reward tokenizer template rows recipe checkpoint

# The versions that the workspace is tested with.
cp Cargo.lock fuzz/Cargo.lock
cargo fuzz build --sanitizer none --fuzz-dir fuzz
"$(find "${CARGO_TARGET_DIR:-fuzz/target}" -path '*release/seeds' -type f | head -n 1)"
for target in "$@"; do
    echo "== $target"
    cargo fuzz run --sanitizer none --fuzz-dir fuzz "$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
        -max_len=65536 -print_final_stats=1 -verbosity=0
done
