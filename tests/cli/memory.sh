#!/bin/sh
# Too little memory is said before the first step; a pass that the user did not choose shrinks until it fits, with the same result.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest set.zip --num 64 --seed 1
train="train --data set.zip --cond --cbase 32 --cres 1,2 --blocks 1 --no-attention --batch 32 --iterations 2 --grid 0 --nosubdir"
pass() { sed -n 's/.*in passes of \([0-9]*\).*/\1/p' out; }

good $train --outdir none --dry-run
[ "$(pass)" -eq 32 ] || bad "passes of $(pass) without a limit"
export FD_MEMORY_MIB=40
good $train --outdir none --dry-run --batch-gpu auto
[ "$(pass)" -lt 32 ] || bad "passes of $(pass) in 40 MiB"
small=$(pass)
refuse 1 "not enough memory: " $train --outdir none --batch-gpu 32
absent none
has "FD_MEMORY_MIB allows 40: use a smaller --batch-gpu" err
good $train --outdir short
unset FD_MEMORY_MIB
good $train --outdir chosen --batch-gpu "$small"
weights() { "$FDISTILL" info "$1"/network-snapshot-000000.safetensors | awk '$1 == "digest" {print $2}'; }
[ "$(weights short)" = "$(weights chosen)" ] || bad "the pass that was found gives other weights than the same one asked for"

export FD_MEMORY_MIB=5
refuse 1 "not enough memory: " bench --config demo --reps 1
FD_MEMORY_MIB=many refuse 1 "FD_MEMORY_MIB is 'many'" bench --config demo --reps 1
refuse 2 "--batch-gpu" train --data set.zip --outdir none --batch-gpu automatic
finish
