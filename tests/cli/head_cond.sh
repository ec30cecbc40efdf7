#!/bin/sh
# distill --head-cond: the heads have a vector for each class, which is trained and goes on from a state.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest set.zip --num 32 --seed 1
set -- distill --teacher "$SOURCE/samples/sprites-teacher.safetensors" --data set.zip --divergence js --head-width 32 --batch 16 \
    --update-freq 2 --gan-weight 1 --lr 1e-3 --disc-lr 1e-3 --grid 0 --tick 0.016k --dump 1 --nosubdir
good "$@" --cond --head-cond --iterations 6 --outdir whole
has '"head_cond": true' whole/training_options.json
good "$@" --cond --iterations 6 --outdir without
raw=network-snapshot-000000-raw.safetensors
cmp -s whole/$raw without/$raw && bad "the classes change nothing"
good "$@" --cond --head-cond --iterations 3 --outdir parts
good "$@" --cond --head-cond --iterations 6 --resume --outdir parts
same whole/$raw parts/$raw
refuse 2 "head_cond is" "$@" --cond --iterations 8 --resume --outdir whole
refuse 2 "--head-cond without labels" "$@" --head-cond --iterations 1 --outdir none
# Passes change the order of sums only.
good "$@" --cond --head-cond --iterations 6 --batch-gpu 4 --outdir passes
loss() { sed -n 's/.*"Loss\/disc": {"num": 1, "mean": \([^,]*\),.*/\1/p' "$1/stats.jsonl" | tail -n 1; }
awk -v a="$(loss whole)" -v b="$(loss passes)" 'BEGIN {e = a / b - 1; exit !(a > 0 && e < 1e-4 && e > -1e-4)}' ||
    bad "in passes of 4 the heads' loss is $(loss passes), else $(loss whole)"
finish
