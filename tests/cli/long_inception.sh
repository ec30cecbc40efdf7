#!/bin/sh
# FID's Inception with formula weights: from our file and from torch's, pictures of any size, all resize rules.
. "$SOURCE/tests/cli/common.sh"
"$MAKE_NET" inception inception.safetensors || exit 1
good dataset create sprites --dest a.zip --num 4 --seed 1
good dataset create sprites --dest b.zip --num 3 --seed 2 --resolution 32
good import inception.safetensors --export inception.pt
good import inception.pt
has "family       inception" out
has "23885392 in 472 tensors" out
has "not the known file" out
good import inception.pt --out again.safetensors
good import again.safetensors --export again.pt
same inception.pt again.pt
value() { sed -n "s/^ *\"$1\": \([^,]*\),*$/\1/p" out; }
good fid ref --data a.zip --net inception.safetensors --dest tf.npz --keep-features
good fid calc --images b.zip --ref tf.npz --net inception.pt --metrics fd,kid,is --splits 2 --json
has '"metric": "FD (Inception of unknown origin)"' out
has '"resize": "TensorFlow 1' out
has "were 16 pixels wide, these are 32" err
grep -q JPEG err && bad "a warning of JPEG for lossless pictures"
fd=$(value fd3)
value is3_mean | awk '{exit !($1 >= 1 && $1 < 1008)}' || bad "an Inception score of $(value is3_mean)"
good fid calc --images b.zip --ref tf.npz --net inception.safetensors --json --batch 2 --threads 1
[ "$fd" = "$(value fd3)" ] || bad "in passes of 2 on one thread $(value fd3), else $fd"
refuse 1 "another resize rule" fid calc --images b.zip --ref tf.npz --net inception.safetensors --resize torch
refuse 1 "another resize rule" fid calc --images b.zip --ref tf.npz --net inception.safetensors --resize clean
good fid calc --images b.zip --data a.zip --net inception.safetensors --resize torch --json
has '"resize": "PyTorch' out
[ "$fd" != "$(value fd3)" ] || bad "the resize rule changes nothing"
good fid calc --images b.zip --data a.zip --net inception.safetensors --resize clean --json
has '"resize": "Pillow bicubic' out
# sFID's spatial features; 51.50989 is PyTorch's in float64, with the oracle's Inception and these weights and pictures.
refuse 2 "holds no mu_s and sigma_s" fid calc --images b.zip --ref tf.npz --net inception.safetensors --metrics sfd
good fid ref --data a.zip --net inception.safetensors --dest spatial.npz --spatial
good fid calc --images b.zip --ref spatial.npz --net inception.safetensors --metrics fd,sfd --json
value sfd3 | awk '{e = $1 / 51.50989 - 1; exit !(e < 1e-4 && e > -1e-4)}' || bad "a spatial distance of $(value sfd3), not 51.50989"
[ "$fd" = "$(value fd3)" ] || bad "spatial features change the distance: $(value fd3), else $fd"
# A pair of gray JPEG files against lossless colour pictures: measured, with a warning.
mkdir jpeg
for name in 0 1; do cp "$SOURCE/tests/fuzz/corpus/image/gray.jpg" jpeg/$name.jpg; done
good fid calc --images jpeg --ref tf.npz --net inception.safetensors
has "are lossless, these are JPEG" err
finish
