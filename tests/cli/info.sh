#!/bin/sh
# info: what a file is; the run list of a network.
. "$SOURCE/tests/cli/common.sh"
for kind in student teacher classifier; do "$MAKE_NET" $kind $kind.safetensors || exit 1; done
good dataset create sprites --dest a.zip --num 20

good info student.safetensors
has "one step from sigma 80" out
good info teacher.safetensors --tensors
has "model.enc.16x16_conv.weight" out
good info teacher.safetensors --plan --batch 2
has "conv2d" out
has "enc.16x16_block0" out
forward=$(wc -l <out)
good info teacher.safetensors --plan --train --batch 2
has "conv2d_bwd_w" out
[ "$(wc -l <out)" -gt "$forward" ] || bad "a training pass has no more operations than a forward pass"
good info classifier.safetensors
good info a.zip
has "20 of 16 x 16, RGB" out
refuse 2 "only U-Nets" info classifier.safetensors --plan
refuse 2 "no network file" info a.zip --plan
refuse 1 "nothing-here" info nothing-here
refuse 2 "PATH is missing" info
refuse 2 "unexpected argument" info a.zip a.zip
for wait in "OMP_WAIT_POLICY=passive:sleep at once" "OMP_WAIT_POLICY=ACTIVE:spin" "GOMP_SPINCOUNT=77:spin 77 turns, then sleep"; do
    env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT "${wait%%:*}" "$FDISTILL" doctor >out 2>err || bad "doctor with ${wait%%:*}"
    has "those that wait ${wait#*:}" out
done
# Left to itself the program chooses, whichever way.
env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT "$FDISTILL" doctor >out 2>err || bad "doctor without a policy"
grep -Eq "those that wait (sleep at once|spin [0-9]+ turns, then sleep)" out || bad "no policy chosen: $(grep threads out)"
good doctor
has "All needed parts work" out
finish
