#!/bin/sh
# train and distill on 1, 2 and 3 ranks: the same training but for the order of sums, the same bits for the same number, a
# run that goes on with another number.
. "$SOURCE/tests/ranks/launch.sh"
good dataset create sprites --dest set.zip --num 36 --seed 1
teacher=$SOURCE/samples/sprites-teacher.safetensors

# Every option that looks at a whole batch: ratio with several bins and their averages, both normalisations, R1, GAN term, clip
# of the norm; passes of other sizes. Few steps, because Adam divides by the size of gradients: where one is next to zero, the
# order of a sum decides its sign.
distill() {
    n=$1 to=$2; shift 2
    ranks "$n" distill --teacher "$teacher" --data set.zip --cond --divergence js --batch 12 --update-freq 2 --ratio-bins 3 \
        --ratio-spacing log-sigma --ratio-ema 0.9 --gan-weight 0.05 --r1-weight 0.1 --head-width 32 --clip 0.1 --ema 200 \
        --pairs 24 --pair-iterations 1 --pair-weight 0.5 --dropout 0.1 --grid 2 --tick 0.024k --dump 1 --lr 1e-4 --nosubdir --outdir "$to" "$@"
}
train() {
    n=$1 to=$2; shift 2
    ranks "$n" train --data set.zip --cond --cbase 16 --cres 1,2 --blocks 1 --attn 8 --dropout 0.1 --augment 0.2 --lr 1e-4 \
        --lr-ramp 0 --ema 0.2k --ema-ramp 0 --batch 12 --grid 2 --tick 0.024k --dump 1 --nosubdir --outdir "$to" "$@"
}
newest() { find "$1" -name 'training-state-*' | sort | tail -1; }
# largest A B: the largest relative difference of an array, as compare_states prints it
largest() { "$COMPARE" "$(newest "$1")" "$(newest "$2")" >differences || bad "$1 and $2 cannot be compared"; sed -n 's/^largest //p' differences; }
below() { awk -v x="$1" -v y="$2" 'BEGIN {exit !(x + 0 == x && x < y)}'; }
# The order of float sums leaves 1e-5 in the second moments; a wrong mean or seed leaves 0.1 and more.
limit=1e-4
close() { below "$(largest "$1" "$2")" $limit || { bad "$1 and $2 differ by more than $limit:"; cat differences; }; }
far() { ! below "$(largest "$1" "$2")" $limit || bad "$1 and $2 differ by less than $limit, but are different trainings"; }
equal() { [ "$(largest "$1" "$2")" = 0 ] || { bad "$1 and $2 have not the same bits"; cat differences; }; }

for job in train distill; do
    for n in 1 2 3; do $job $n $job$n --iterations 4; done
    [ "$("$COMPARE" "$(newest ${job}1)" "$(newest ${job}3)" | wc -l)" -gt 5 ] || bad "$job: too few arrays were compared"
    close ${job}1 ${job}2
    close ${job}1 ${job}3
    $job 1 ${job}other --iterations 4 --seed 1
    far ${job}1 ${job}other                       # the limit can be missed
    $job 3 ${job}again --iterations 4
    equal ${job}3 ${job}again
    # two iterations on three ranks, two more on two; the file names and what is in them are those of one run
    $job 3 ${job}on --iterations 2
    $job 2 ${job}on --iterations 4 --resume
    has "Resuming from" ${job}on/log.txt
    close ${job}1 ${job}on
    (cd ${job}1 && find . | sort) >files1
    (cd ${job}3 && find . | sort) >files3
    same files1 files3
done
[ "$(grep -c 'ranks, each with' train2/log.txt)" -eq 1 ] || bad "log.txt does not say how many ranks there were"
[ "$(grep -c '^tick' train3/log.txt)" -eq 2 ] || bad "other ranks than the first write to log.txt"
finish
