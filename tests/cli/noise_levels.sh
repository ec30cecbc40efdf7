#!/bin/sh
# --sigma_min, --t_max of distill: which noise levels t are drawn.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest set.zip --num 32 --seed 1
good train --data set.zip --cbase 8 --cres 1 --blocks 1 --no-attention --dropout 0 --iterations 1 --batch 8 --grid 0 --outdir t --nosubdir
set -- distill --teacher t/network-snapshot-000000.safetensors --data set.zip --divergence rkl --gan-weight 0 \
    --iterations 3 --batch 16 --tick 8 --grid 0 --nosubdir
# fake_loss OPTIONS...: mean of (D_fake(x_t, t) - G)^2 over three iterations' images
fake_loss() {
    rm -rf d
    good "$@" --outdir d
    sed -n 's/.*"Loss\/fake_score": {"num": [0-9]*, "mean": \([^,]*\),.*/\1/p' d/stats.jsonl | tail -n 1
}
# G of a new network is nearly 0 and D nearly c_skip x: the loss is small where t is far below or far above sigma_data.
low=$(fake_loss "$@" --t_max 0.01) all=$(fake_loss "$@") high=$(fake_loss "$@" --sigma_min 40)
awk -v l="$low" -v a="$all" -v h="$high" 'BEGIN { exit !(l > 0 && h > 0 && l < a / 100 && h < a / 100) }' || bad "losses $low, $all, $high"
has '"t_max": 80.0' d/training_options.json
# The teacher's pictures start from its own level wherever the student starts.
good "$@" --outdir a --grid 2
good "$@" --outdir b --grid 2 --sigma_max 2.5 --t_max 80
same a/teacher.png b/teacher.png
refuse 2 "--sigma_min 0.002 is not below --t_max 0.001" "$@" --outdir x --t_max 0.001
refuse 2 "--sigma_min 90 is not below --sigma_max 80" "$@" --outdir x --sigma_min 90
finish
