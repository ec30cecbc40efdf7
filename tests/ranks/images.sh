#!/bin/sh
# generate and fid on 1, 2 and 3 ranks: the same files.
. "$SOURCE/tests/ranks/launch.sh"
student=$SOURCE/samples/sprites-student.safetensors
features=$SOURCE/samples/sprites-features.safetensors
good dataset create sprites --dest set.zip --num 40 --seed 1

for n in 1 2 3; do
    ranks $n generate --network "$student" --outdir images$n --seeds 0-22 --grid grid$n.png --batch 4
    [ "$(grep -c '^23 images' out)" -eq 1 ] || bad "$n ranks did not say once that there are 23 images"
    ranks $n generate --network "$student" --outdir images$n.zip --seeds 5-204 --batch 32
    ranks $n generate --network "$student" --outdir images$n.npz --seeds 5-204 --batch 32
    ranks $n generate --network "$student" --outdir few$n --seeds 3,9     # fewer than ranks
    # Their features too, and a last pass that is not full.
    ranks $n fid ref --data set.zip --net "$features" --dest ref$n.npz --batch 7 --keep-features
    ranks $n fid calc --network "$student" --num 50 --batch 9 --net "$features" --ref ref1.npz --metrics fd,kid,prdc --json
    grep -v '"seconds"' out >scores$n
done
has precision scores1
for n in 2 3; do
    diff -r images1 images$n >out || bad "$n ranks make other images: $(cat out)"
    diff -r few1 few$n >out || bad "$n ranks make other images of two seeds: $(cat out)"
    for file in grid.png images.zip images.npz ref.npz scores; do
        same "${file%.*}1${file#"${file%.*}"}" "${file%.*}$n${file#"${file%.*}"}"
    done
done
finish
