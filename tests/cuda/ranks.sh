#!/bin/sh
# Several ranks on emulated devices: the training of one rank but for the order of sums, through the host and by NCCL's functions.
FDISTILL=$EMULATED
. "$SOURCE/tests/ranks/launch.sh"
"$MAKE_NET" teacher teacher.safetensors || exit 1
good dataset create sprites --dest set.zip --num 24 --seed 1
train() {
    n=$1 to=$2; shift 2
    ranks "$n" train --data set.zip --cond --cbase 8 --cres 1,2 --blocks 1 --attn 8 --dropout 0.1 --lr 1e-4 --lr-ramp 0 --ema 0.2k \
        --ema-ramp 0 --batch 8 --grid 0 --tick 0.016k --dump 1 --nosubdir --iterations 3 --device cuda --outdir "$to" "$@"
}
distill() {
    n=$1 to=$2; shift 2
    ranks "$n" distill --teacher teacher.safetensors --data set.zip --cond --divergence js --batch 8 --update-freq 2 --lr 1e-4 \
        --grid 0 --tick 0.016k --dump 1 --nosubdir --iterations 3 --device cuda --outdir "$to" "$@"
}
newest() { find "$1" -name 'training-state-*' | sort | tail -1; }
largest() { "$COMPARE" "$(newest "$1")" "$(newest "$2")" >differences || bad "$1 and $2 cannot be compared"; sed -n 's/^largest //p' differences; }
# The limit of tests/ranks/training.sh, for the same reason.
close() { largest "$1" "$2" | awk '{exit !($1 + 0 == $1 && $1 < 1e-4)}' || { bad "$1 and $2 differ:"; cat differences; }; }
for job in train distill; do
    $job 1 ${job}1
    $job 2 ${job}host
    if grep -q NCCL err; then bad "two ranks of one device went through NCCL"; fi
    close ${job}1 ${job}host
    export EMULATOR_DEVICES=2 FD_NCCL_LIBRARY="$FAKE_NCCL"
    $job 2 ${job}nccl
    [ "$(grep -c 'fake NCCL: rank . of 2' err)" -eq 2 ] || { bad "$job: NCCL was not used by two ranks"; cat err; }
    close ${job}1 ${job}nccl
    # without the library, or with less than it must have, all go through the host
    FD_NCCL_LIBRARY=$work/none
    $job 2 ${job}none
    close ${job}1 ${job}none
    unset EMULATOR_DEVICES FD_NCCL_LIBRARY
done
# A picture has the same bits from any number of ranks.
good generate --network teacher.safetensors --steps 2 --seeds 0-5 --batch 2 --outdir one.npz --device cuda
ranks 2 generate --network teacher.safetensors --steps 2 --seeds 0-5 --batch 2 --outdir two.npz --device cuda
same one.npz two.npz
finish
