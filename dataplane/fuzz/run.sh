#!/bin/sh
# Runs a fuzz target of dataplane/ or control/ without cargo-fuzz: run.sh TARGET [SECONDS]. Ends with the target's
# status; a crash leaves its input in the artifacts/ of the crate concerned.
set -eu
cd "$(dirname "$0")"
target=${1:?which target: a file name in fuzz_targets/ without .rs}
[ -f "fuzz_targets/$target.rs" ] || cd ../../control/fuzz
seconds=${2:-60}
triple=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "corpus/$target" artifacts
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1"
cargo build --quiet --release --target "$triple" --bin "$target"
built=${CARGO_TARGET_DIR:-target}/$triple/release/$target
"$built" "corpus/$target" "seeds/$target" -max_total_time="$seconds" -max_len=4096 -artifact_prefix=artifacts/ \
    -verbosity=0 -print_funcs=0
