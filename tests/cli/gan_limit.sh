#!/bin/sh
# distill --gan-limit: the GAN term's gradient at the image is held below its share of the score's, and left alone under it.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest set.zip --num 32 --seed 1
set -- distill --teacher "$SOURCE/samples/sprites-teacher.safetensors" --data set.zip --cond --divergence js --head-width 32 --batch 16 \
    --update-freq 2 --lr 1e-3 --fake-lr 1e-2 --grid 0 --tick 0.016k --nosubdir --iterations 8
# norms RUN: the norms of both parts at the image, a line for each student step but the first, when fake score and teacher are still one
norms() {
    sed -n 's/.*"Grad\/image_vsd": {"num": 1, "mean": \([^,]*\),.*"Grad\/image_gan": {"num": 1, "mean": \([^,]*\),.*/\1 \2/p' "$1/stats.jsonl" |
        sed 1d
}
good "$@" --gan-weight 100 --gan-limit 0.5 --outdir limited
norms limited | awk '{n++; r = $2 / $1; if (r > 0.5001 || r < 0.4999) bad = 1} END {exit bad || n < 3}' || bad "not half: $(norms limited)"
good "$@" --gan-weight 100 --outdir free
norms free | awk '{if ($2 > $1) n++} END {exit n < 3}' || bad "nothing to limit: $(norms free)"
# A limit that is not reached changes no bit.
good "$@" --gan-weight 1e-3 --gan-limit 1000 --outdir wide
good "$@" --gan-weight 1e-3 --outdir without
same wide/network-snapshot-000000-raw.safetensors without/network-snapshot-000000-raw.safetensors
good "$@" --gan-weight 100 --gan-limit 0.5 --batch-gpu 4 --outdir passes
norms passes | awk '{n++; r = $2 / $1; if (r > 0.5001 || r < 0.4999) bad = 1} END {exit bad || n < 3}' || bad "not half in passes of 4: $(norms passes)"
finish
