#!/bin/sh
# bench: every work runs and reports; turns with another program; the table of operations; refusals.
. "$SOURCE/tests/cli/common.sh"
"$MAKE_NET" teacher teacher.safetensors || exit 1
demo="--config demo --resolution 8 --batch 4 --reps 2"

good bench $demo
has "demo, denoise, batch 4, fp32, 2 threads" out
has "ms per image" out
good bench $demo --case train --precision bf16 --threads 1
has "demo, train, batch 4, bf16, 1 thread" out
good bench $demo --case distill --batch 4 --reps 1
has "distill, images 20" out
refuse 2 "--ops: distill runs several plans" bench $demo --case distill --ops
good bench --network teacher.safetensors --case generate --images 5 --batch 2 --reps 1
has "teacher.safetensors, generate, images 5" out

good bench $demo --case train --ops --shapes 3
for op in conv2d conv2d_bwd_w group_norm_bwd "outside ops"; do has "$op" out; done
# The first table accounts for all of the time: its fourth column from the right is a share.
awk '/^op / {table++} table == 1 && /^outside/ {share += $NF} table == 1 && /f32/ {share += $(NF - 3)} END {exit !(share > 99 && share < 101)}' out ||
    bad "the shares of the table do not add up to 100"
good bench $demo --json --ops --shapes 2
for key in '"median_ms"' '"peak_bytes"' '"ops"' '"shapes"' '"gflops_f32"' '"share_of_peak"'; do has "$key" out; done

# Turns: nothing is measured before it is asked for; the end of the questions is the end of the run.
printf 'go\ngo\n' | "$FDISTILL" bench $demo --reps 9 --paced >out 2>err || bad "bench --paced: $(cat err)"
[ "$(sed -n 1p out)" = ready ] || bad "--paced did not begin with ready"
[ "$(wc -l <out)" -eq 4 ] || bad "--paced: $(wc -l <out) lines, expected ready, two times and the summary"
has '"batch": 4' out
"$FDISTILL" bench $demo --paced </dev/null >out 2>err && bad "--paced without a question succeeded"

good bench --config demo --save student.safetensors
good generate --network student.safetensors --outdir images --seeds 0-1
has "1 step" out

refuse 2 "--case: 'fly' is unknown" bench --case fly
"$MAKE_NET" classifier classifier.safetensors || exit 1
good bench --network classifier.safetensors --case features --batch 6 --reps 1
has "features, batch 6" out
good bench --config inception --case features --batch 2 --reps 1
has "11.45 GFLOP per image" out
refuse 2 "--case features: a ddpmpp gives none" bench $demo --case features
refuse 2 "take --case features" bench --config inception
refuse 2 "--resolution" bench --config inception --case features --resolution 64
refuse 2 "--resolution goes with --config" bench --network teacher.safetensors --resolution 8
refuse 2 "not divisible by 4" bench --config demo --resolution 9
refuse 1 "none.safetensors" bench --network none.safetensors
finish
