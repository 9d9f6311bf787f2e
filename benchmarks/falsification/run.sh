#!/usr/bin/env bash
# The figures of RESULTS.md: one thread per library; the Box2D cases fly in two processes.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 SDL_VIDEODRIVER=dummy
git log -1 --format='commit %h' && grep -m1 'model name' /proc/cpuinfo && nproc --all && python --version
python benchmarks/falsification/sweep.py "$@"
