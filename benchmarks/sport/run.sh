#!/usr/bin/env bash
# The figures of RESULTS.md: one process at a time, one thread per library.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
git log -1 --format='commit %h' && grep -m1 'model name' /proc/cpuinfo && nproc --all && python --version
python benchmarks/sport/coverage.py
python benchmarks/sport/projection.py
python benchmarks/sport/sweep.py "$@"
