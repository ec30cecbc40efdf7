#!/bin/sh
# distill --pairs: a student that is drawn to the teacher's own images first.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest set.zip --num 32 --seed 1
teacher=$SOURCE/samples/sprites-teacher.safetensors
# $@ is common to all runs; loss RUN: the mean of Loss/pairs over its iterations.
set -- distill --teacher "$teacher" --data set.zip --cond --divergence js --head-width 32 --batch 16 --lr 1e-3 --update-freq 2 \
    --grid 0 --tick 0.032k --dump 1 --nosubdir --pairs 30 --pair-iterations 4
loss() { sed -n 's/.*"Loss\/pairs": {"num": [0-9]*, "mean": \([^,]*\),.*/\1/p' "$1/stats.jsonl" | sed -n "$2p"; }
good "$@" --iterations 6 --outdir whole
has "32 pairs of noise" whole/log.txt
grep -c Loss/pairs whole/stats.jsonl | grep -qx 2 || bad "pairs in $(grep -c Loss/pairs whole/stats.jsonl) ticks, not 2"
has "Loss/student" whole/stats.jsonl
# far from far / (far + 0.03)
awk -v a="$(loss whole 1)" -v b="$(loss whole 2)" 'BEGIN {exit !(b > 0 && b / (1 - b) < 0.9 * a / (1 - a))}' ||
    bad "the student does not come nearer: $(loss whole 1), then $(loss whole 2)"
# The same bits after a stop in the middle of the pairs, and after one behind them.
for stop in 2 4; do
    good "$@" --iterations $stop --outdir parts$stop
    good "$@" --iterations 6 --resume --outdir parts$stop
    same "$(ls whole/network-snapshot-*-raw.safetensors)" "$(ls parts$stop/network-snapshot-000000-raw.safetensors)"
done
has "pairs of noise" parts2/log.txt
# Passes change the order of sums only.
good "$@" --iterations 6 --batch-gpu 4 --outdir passes
awk -v a="$(loss whole 2)" -v b="$(loss passes 2)" 'BEGIN {e = a / b - 1; exit !(e < 1e-4 && e > -1e-4)}' ||
    bad "in passes of 4 the loss is $(loss passes 2), else $(loss whole 2)"
# With a weight the distance stays in the loss: it is measured in every tick, pulls, and goes on from a state as before.
good "$@" --iterations 8 --outdir free
good "$@" --iterations 8 --pair-weight 2 --outdir held
grep -c Loss/pairs held/stats.jsonl | grep -qx 4 || bad "pairs in $(grep -c Loss/pairs held/stats.jsonl) ticks, not 4"
cmp -s free/network-snapshot-000000-raw.safetensors held/network-snapshot-000000-raw.safetensors && bad "the weight changes nothing"
good "$@" --iterations 5 --pair-weight 2 --outdir parts5
good "$@" --iterations 8 --pair-weight 2 --resume --outdir parts5
same held/network-snapshot-000000-raw.safetensors parts5/network-snapshot-000000-raw.safetensors
good "$@" --iterations 8 --pair-weight 2 --batch-gpu 4 --outdir heldpasses
awk -v a="$(loss held 4)" -v b="$(loss heldpasses 4)" 'BEGIN {e = a / b - 1; exit !(e < 1e-3 && e > -1e-3)}' ||
    bad "in passes of 4 the loss is $(loss heldpasses 4), else $(loss held 4)"
good "$@" --iterations 4 --pair-steps 3 --outdir rough
has "32 pairs of noise and the teacher's image, 3 evaluations" rough/log.txt
cmp -s rough/network-snapshot-000000-raw.safetensors parts4/network-snapshot-000000-raw.safetensors && bad "the pairs' steps change nothing"
refuse 2 "pair_steps is" "$@" --pair-steps 4 --iterations 4 --resume --outdir rough
good "$@" --iterations 8 --dry-run --outdir none
has "pairs       30, 0.0 MiB, 16 evaluations" out
refuse 2 "--pair-weight" distill --teacher "$teacher" --data set.zip --pair-weight 1 --iterations 1 --outdir none
refuse 2 "pairs is" "$@" --pairs 48 --iterations 8 --resume --outdir whole
finish
