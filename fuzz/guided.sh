#!/bin/sh
# Fuzzing that is guided by coverage, with libFuzzer on stable Rust: `fuzz/guided.sh TARGET|all [SECONDS]`, 120 s each unless
# given. Needs a C++ compiler. What is found in a run is kept below target/guided for the next; a text that breaks a law is told,
# and left there as `crash-…`.
set -eu
cd "$(dirname "$0")"
targets="cloud_events config filter_and_map retry_after signature url"
[ "${1:-all}" = all ] || targets=$1
: "${CARGO_TARGET_DIR:=$PWD/target}"
export CARGO_TARGET_DIR
host=$(rustc -vV | sed -n 's/^host: //p')
# What `cargo fuzz` passes with `--sanitizer none`; beside --target, so that build scripts are built without.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
-Cdebug-assertions --cfg fuzzing -Ccodegen-units=4"
bins=$(printf ' --bin %s' $targets)
# shellcheck disable=SC2086
cargo build --locked --release --features libfuzzer --target "$host" $bins
for target in $targets; do
    kept=$CARGO_TARGET_DIR/guided/$target
    mkdir -p "$kept"
    echo "== $target"
    HOOKMILL_SEEDS=$kept "$CARGO_TARGET_DIR/$host/release/$target" "$kept" -max_total_time="${2:-120}" -max_len=4096 \
        -timeout=10 -artifact_prefix="$CARGO_TARGET_DIR/guided/$target-" -print_final_stats=1
done
