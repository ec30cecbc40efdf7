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

# Another cut of the same pictures is noticed, for sets and for networks trained on them; unknown or equal cuts are not.
good dataset create --source a.zip --dest cut.zip --transform center-crop --resolution 16
good info a.npz
has "crop         none" out
good fid calc --images cut.zip --ref a.npz --net classifier.safetensors --json
grep -q "were cut by" err && bad "a crop that changed nothing counts as one"
good dataset create sprites --dest wide.zip --num 100 --seed 2 --resolution 32
good dataset create --source wide.zip --dest small.zip --transform center-crop --resolution 16
good dataset create --source wide.zip --dest halved.zip --transform center-crop-dhariwal --resolution 16
good dataset create --source small.zip --dest steps.zip --transform scale --resolution 8
good dataset stats steps.zip
has "crop      center-crop, scale" out
good fid ref --data small.zip --net classifier.safetensors --dest small.npz
good fid calc --images halved.zip --ref small.npz --net classifier.safetensors --json
has "the reference's images were cut by 'center-crop', these by 'center-crop-dhariwal'" err
good train --data halved.zip --outdir trained --iterations 2 --batch 2 --cbase 8 --cres 1,2 --blocks 1 --grid 0 --nosubdir --no-attention --quiet
good info trained/network-snapshot-000000.safetensors
has "crop         center-crop-dhariwal" out
good fid calc --network trained/network-snapshot-000000.safetensors --num 4 --steps 2 --ref small.npz --net classifier.safetensors --json
has "these by 'center-crop-dhariwal'" err
good fid calc --network student.safetensors --num 4 --ref small.npz --net classifier.safetensors --json
grep -q "were cut by" err && bad "a network that does not say how its pictures were cut counts as different"
good fid calc --images b.zip --ref a.npz --net classifier.safetensors --json
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

# All metrics; the reference's features from its file, from the images, from ADM's form: the same numbers.
numbers() { sed -e '/"seconds"/d' -e '/"path"/d' -e '/"data":/d' -e '/"data_digest"/d' out | sed -n '/"results"/,/}/p'; }
good fid ref --data a.zip --net classifier.safetensors --dest features.npz --keep-features
good fid calc --images b.zip --ref features.npz --net classifier.safetensors --metrics fd,kid,prdc,is,fd-infinity --json
for key in fd400 kid400 kid400_subsets_mean kid400_subsets_std pr400_precision pr400_recall pr400_density pr400_coverage \
    is400_mean is400_std fd400_infinity fd400_infinity_error; do
    value $key | grep -q '^[-0-9]' || bad "no number $key"
done
numbers >all
value pr400_precision | awk '{exit !($1 > 0.5 && $1 <= 1)}' || bad "precision of true images is $(value pr400_precision)"
value fd400_infinity | awk -v fd="$(value fd400)" '{exit !($1 < fd)}' || bad "extrapolation does not lower the distance"
for how in "--ref features.npz --batch 7" "--ref features.npz --threads 1" "--ref a.npz --data a.zip" "--data a.zip"; do
    good fid calc --images b.zip $how --net classifier.safetensors --metrics fid,kid,prdc,is,fd-infinity --json
    numbers >other
    same all other
done
"$MAKE_NET" adm adm.npz features.npz gen.npz || bad "make_net adm"
good fid calc --images b.zip --data gen.npz --net classifier.safetensors --metrics kid,prdc --json
numbers >all
good fid calc --images b.zip --ref adm.npz --net classifier.safetensors --metrics kid,prdc --json
numbers >other
same all other
has "does not say what it was made from" err
good fid calc --images b.zip --net classifier.safetensors --metrics is
has "IS (classifier)" out
refuse 2 "'speed' is none" fid calc --images b.zip --ref a.npz --net classifier.safetensors --metrics fd,speed
refuse 2 "'' is none" fid calc --images b.zip --ref a.npz --net classifier.safetensors --metrics fd,
refuse 2 "give the reference" fid calc --images b.zip --net classifier.safetensors
refuse 2 "a.npz has not" fid calc --images b.zip --ref a.npz --net classifier.safetensors --metrics kid
refuse 2 "only with --network" fid calc --images b.zip --ref a.npz --net classifier.safetensors --blocks 3
refuse 2 "needs 1" fid calc --images b.zip --num 3 --ref features.npz --net classifier.safetensors --metrics prdc

# Blocks of seeds, and lines in the run folder.
mkdir run
echo '{}' >run/training_options.json
cp student.safetensors run/network-snapshot-000001.safetensors
second=$(good fid calc --network student.safetensors --num 20 --seed 20 --ref a.npz --net classifier.safetensors --json
    value fd20)
good fid calc --network run/network-snapshot-000001.safetensors --num 20 --blocks 2 --ref a.npz --net classifier.safetensors --json
[ "$(value fd20 | sed -n 3p)" = "$second" ] || bad "the second block gives $(value fd20 | sed -n 3p), alone it is $second"
value fd20 | sed -n 2,3p | awk -v mean="$(value mean)" -v least="$(value value)" \
    '{sum += $1; if (NR == 1 || $1 < low) low = $1} END {exit !(NR == 2 && low == least && (sum / 2 - mean) ^ 2 < 1e-20)}' ||
    bad "minimum and mean do not belong to the blocks"
[ "$(wc -l <run/metric-fd20.jsonl)" -eq 2 ] || bad "two blocks gave $(wc -l <run/metric-fd20.jsonl) lines"
has '"snapshot_pkl": "network-snapshot-000001.safetensors"' run/metric-fd20.jsonl
has "\"results\": {\"fd20\": $second}" run/metric-fd20.jsonl
good fid calc --network run/network-snapshot-000001.safetensors --num 20 --ref features.npz --net classifier.safetensors \
    --metrics fd,kid --no-record
[ "$(ls run/*.jsonl | wc -l)" -eq 1 ] || bad "--no-record wrote"
good fid calc --network run/network-snapshot-000001.safetensors --num 20 --ref features.npz --net classifier.safetensors \
    --metrics kid
has kid20_subsets_mean run/metric-kid20.jsonl
absent metric-fd20.jsonl metric-fd40.jsonl

# The exact judge: true pictures are all right, noise is not.
good fid sprites --images a.zip --json
[ "$(value valid_loose | head -1)" = 1.0 ] || bad "true sprites are valid at a rate of $(value valid_loose | head -1)"
good fid sprites --network teacher.safetensors --num 20 --steps 2 --json
[ "$(value valid_strict | head -1)" = 0.0 ] || bad "an untrained network draws valid sprites"
good fid sprites --images a.zip
has "crescent" out
finish
