#!/bin/sh
# train --augment: the network takes the vector of 9 numbers, resuming repeats the bits, and all that follows works.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest set.zip --num 64 --seed 1
train() {
    good train --data set.zip --cond --cbase 8 --cres 1,2 --blocks 1 --no-attention --dropout 0 --batch 8 --grid 0 \
         --nosubdir --snap 0 --dump 0 --tick 1 "$@"
}
weights() { "$FDISTILL" info "$1" | awk '$1 == "digest" {print $2}'; }

train --outdir plain --iterations 4
train --outdir none --iterations 4 --augment 0
train --outdir some --iterations 4 --augment 0.9
net=network-snapshot-000000.safetensors
[ "$(weights plain/$net)" = "$(weights none/$net)" ] || bad "--augment 0 changed the weights"
good info some/$net --tensors
has '"augment_dim":9' out
has 'model.map_augment.weight' out
good info none/$net
has '"augment_dim":0' out

# In two parts, and in smaller passes: the same samples.
train --outdir parts --iterations 2 --augment 0.9
train --outdir parts --iterations 4 --augment 0.9 --resume
[ "$(weights some/$net)" = "$(weights parts/$net)" ] || bad "a resumed run gave other weights"
train --outdir threads --iterations 4 --augment 0.9 --threads 1
loss() { sed -n 's/.*"Loss\/loss": *{[^}]*"mean": *\([0-9.e+-]*\).*/\1/p' "$1/stats.jsonl" | tail -1; }
train --outdir passes --iterations 4 --augment 0.9 --batch-gpu 2
awk -v a="$(loss some)" -v b="$(loss passes)" 'BEGIN {d = a - b; exit !(a > 0 && d * d < 1e-6 * a * a)}' ||
    bad "losses $(loss some) and $(loss passes) in passes of 8 and 2"
awk -v a="$(loss some)" -v b="$(loss plain)" 'BEGIN {d = a - b; exit !(d * d > 1e-6 * a * a)}' ||
    bad "augmentation left the loss as it was"

# The vector is absent when images are made and when the network is distilled.
good generate --network some/$net --outdir images --seeds 0-3 --steps 2
good distill --teacher some/$net --data set.zip --cond --outdir student --nosubdir --batch 4 --iterations 2 --grid 0

refuse 2 "--augment: 1.5 is not in 0…1" train --data set.zip --outdir x --augment 1.5
refuse 2 "group norm cannot split 144" train --data set.zip --outdir x --cbase 24 --cres 1,2,4
refuse 1 "has no tensor 'model.map_augment.weight'" train --data set.zip --cond --cbase 8 --cres 1,2 --blocks 1 \
       --no-attention --dropout 0 --batch 8 --outdir x --augment 0.5 --transfer none/$net
finish
