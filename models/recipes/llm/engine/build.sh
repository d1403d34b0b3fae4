#!/bin/sh
# Builds `check` against the llama.cpp that Cargo built for sidecars/loqa-llm: build.sh OUTPUT
set -eu
target="${CARGO_TARGET_DIR:-$(dirname "$0")/../../../../target}"
libraries=$(ls -d "$target"/*/build/llama-cpp-sys-2-*/out/lib 2>/dev/null | head -n 1)
[ -n "$libraries" ] || { echo "build the sidecar first: cargo build -p loqa-llm" >&2; exit 1; }
sources=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/llama-cpp-sys-2-*/llama.cpp | head -n 1)
c++ -O2 -std=c++17 -I"$sources/include" -I"$sources/ggml/include" "$(dirname "$0")/check.cpp" -o "$1" \
    -L"$libraries" -lllama -lggml -lggml-cpu -lggml-base -lpthread -ldl -fopenmp
