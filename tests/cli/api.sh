#!/bin/sh
# The distillation of the public API is that of the command line: the same student from the same options.
. "$SOURCE/tests/cli/common.sh"
"$MAKE_NET" teacher teacher.safetensors || exit 1
good dataset create sprites --dest set.zip --num 64
"$SAMPLES/sample_distill" teacher.safetensors set.zip api 128 >out 2>err || { bad "samples/distill.c failed"; cat err; }
student=$(sed -n 's/^the student is //p' out)
[ -f "$student" ] || bad "no student: $(cat out)"
good distill --teacher teacher.safetensors --data set.zip --outdir cli --cond --divergence js --batch 64 --iterations 2 --update-freq 3 \
    --grid 4 --lr 3e-4 --fake-lr 6e-4 --disc-lr 1e-3
for name in network-snapshot-000000.safetensors network-snapshot-000000-raw.safetensors; do
    good info "$(find api -name $name)"
    grep -i digest out >digest.api
    good info "$(find cli -name $name)"
    grep -i digest out >digest.cli
    [ -s digest.api ] || bad "info gives no digest"
    same digest.api digest.cli
done
"$SAMPLES/sample_distill" not-there.safetensors set.zip api >out 2>err && bad "a missing teacher was no failure"
has "not-there.safetensors" err
finish
