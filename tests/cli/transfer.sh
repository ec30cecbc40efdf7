#!/bin/sh
# distill --transfer: a student that goes on from another run's.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest set.zip --num 32 --seed 1
good train --data set.zip --cbase 8 --cres 1 --blocks 1 --no-attention --dropout 0 --iterations 1 --batch 8 --grid 0 --outdir t --nosubdir
teacher=t/network-snapshot-000000.safetensors
set -- distill --teacher $teacher --data set.zip --divergence rkl --gan-weight 0 --iterations 4 --update-freq 2 --batch 16 \
    --lr 1e-2 --grid 2 --nosubdir
good "$@" --outdir first
student=$(ls first/network-snapshot-*-raw.safetensors)
good "$@" --outdir second --transfer "$student"
cmp -s first/student000000.png second/student000000.png && bad "the second student starts as the first did"
good generate --network "$student" --seeds 0-3 --outdir end.npz
# A rate that moves no pixel: what comes out is what went in.
good "$@" --outdir third --transfer "$student" --lr 1e-12 --weight-decay 0
third=$(ls third/network-snapshot-*-raw.safetensors)
good generate --network "$third" --seeds 0-3 --outdir third.npz
same end.npz third.npz
has '"transfer": "' third/training_options.json
good "$@" --outdir third --transfer "$student" --lr 1e-12 --weight-decay 0 --iterations 6 --resume
refuse 2 "transfer is" "$@" --outdir third --lr 1e-12 --weight-decay 0 --iterations 6 --resume
good train --data set.zip --cbase 16 --cres 1 --blocks 1 --no-attention --dropout 0 --iterations 1 --batch 8 --grid 0 --outdir wide --nosubdir
refuse 1 "has another shape" "$@" --outdir x --transfer wide/network-snapshot-000000.safetensors
[ ! -e x ] || bad "a folder was made for a run that could not start"
finish
