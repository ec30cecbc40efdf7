#!/bin/sh
# fid ref, calc and sprites; provenance and what is refused because of it.
. "$SOURCE/tests/cli/common.sh"
for kind in student teacher classifier; do "$MAKE_NET" $kind $kind.safetensors || exit 1; done
"$MAKE_NET" classifier other.safetensors 2 || exit 1
good dataset create sprites --dest a.zip --num 400 --seed 1
good dataset create sprites --dest b.zip --num 400 --seed 2
good dataset create sprites --dest big.zip --num 20 --resolution 32

good fid ref --data a.zip --net classifier.safetensors --dest a.npz --batch 16
good fid ref --data a.zip --net classifier.safetensors --dest again.npz --batch 100 --threads 1
same a.npz again.npz
good info a.npz
has "data         a" out
has "features     classifier" out
value() { sed -n "s/^ *\"$1\": \([^,]*\),*$/\1/p" out; }
good fid calc --images a.zip --ref a.npz --net classifier.safetensors --json
has '"metric": "FD (classifier)"' out
value value | awk '{exit !($1 < 1e-9)}' || bad "a set differs from itself by $(value value)"
has "very images" err
good fid calc --images b.zip --ref a.npz --net classifier.safetensors --json
value value | awk '{exit !($1 > 1e-6)}' || bad "two sets differ by $(value value) only"
grep -q '"FID"' out && bad "the distance of another feature network is called FID"

# Files on disk and the network itself give the same number.
good generate --network student.safetensors --outdir gen --seeds 0-39
good fid calc --images gen --ref a.npz --net classifier.safetensors --json
files=$(value value)
good fid calc --network student.safetensors --num 40 --ref a.npz --net classifier.safetensors --json --batch 7
[ "$files" = "$(value value)" ] || bad "from files $files, from the network $(value value)"
good generate --network student.safetensors --outdir gen.npz --seeds 0-39
good fid calc --images gen.npz --ref a.npz --net classifier.safetensors --json
[ "$files" = "$(value value)" ] || bad "from files $files, from an npz $(value value)"
good info gen.npz
has "sample dump" out
refuse 2 "has 40 images" fid calc --images gen.npz --num 41 --ref a.npz --net classifier.safetensors

refuse 1 "made with the feature network" fid calc --images b.zip --ref a.npz --net other.safetensors
refuse 2 "a feature network is needed" fid ref --data a.zip --net student.safetensors --dest x.npz
refuse 2 "pictures of 32 x 32" fid ref --data big.zip --net classifier.safetensors --dest x.npz
refuse 2 "give either --images PATH or --network FILE" fid calc --ref a.npz --net classifier.safetensors
refuse 2 "has 400 images, but --num asks for 500" fid calc --images b.zip --num 500 --ref a.npz --net classifier.safetensors
refuse 1 "holds no mu and sigma" fid calc --images b.zip --ref b.zip --net classifier.safetensors
absent x.npz
size=$(wc -c <a.npz)
for keep in 0 10 100 $((size / 2)) $((size - 1)); do
    head -c "$keep" a.npz >cut.npz
    refuse 1 "cut.npz" fid calc --images b.zip --ref cut.npz --net classifier.safetensors
done

# The exact judge: true pictures are all right, noise is not.
good fid sprites --images a.zip --json
[ "$(value valid_loose | head -1)" = 1.0 ] || bad "true sprites are valid at a rate of $(value valid_loose | head -1)"
good fid sprites --network teacher.safetensors --num 20 --steps 2 --json
[ "$(value valid_strict | head -1)" = 0.0 ] || bad "an untrained network draws valid sprites"
good fid sprites --images a.zip
has "crescent" out
finish
