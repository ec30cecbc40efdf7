#!/bin/sh
# generate: the same image for a seed whatever the batch, threads and format; files, grids, refusals.
. "$SOURCE/tests/cli/common.sh"
for kind in student teacher uncond classifier broken; do "$MAKE_NET" $kind $kind.safetensors || exit 1; done

good generate --network student.safetensors --outdir one --seeds 0-5,17 --batch 1 --threads 1
good generate --network student.safetensors --outdir many --seeds 0-5,17 --batch 4
good generate --network student.safetensors --outdir single --seeds 4
for seed in 000000 000001 000002 000003 000004 000005 000017; do same one/$seed.png many/$seed.png; done
same one/000004.png single/000004.png
[ "$(ls one | wc -l)" -eq 7 ] || bad "$(ls one | wc -l) files instead of 7"
cmp -s one/000000.png one/000001.png && bad "two seeds gave one image"
good generate --network student.safetensors --outdir again --seeds 0-5,17 --subdirs
same again/000000/000004.png one/000004.png
has "1 step at sigma 80" out

# What an image is made of is in its text.
for word in seed class network sampler Software; do
    LC_ALL=C grep -qa "tEXt$word" one/000017.png || bad "no text chunk '$word'"
done

# Teachers: Heun, Euler, churn, DPM-Solver++.
good generate --network teacher.safetensors --outdir heun --seeds 0-2 --steps 3
has "3 Heun steps" out
good generate --network teacher.safetensors --outdir heun2 --seeds 2 --steps 3 --batch 1
same heun/000002.png heun2/000002.png
good generate --network teacher.safetensors --outdir euler --seeds 0-2 --steps 3 --solver euler
has "3 Euler steps" out
cmp -s heun/000001.png euler/000001.png && bad "Euler gave Heun's image"
good generate --network teacher.safetensors --outdir churn --seeds 0-2 --steps 3 --S_churn 10 --S_noise 1.003
good generate --network teacher.safetensors --outdir churn2 --seeds 1 --steps 3 --S-churn=10 --s_noise 1.003
same churn/000001.png churn2/000001.png
cmp -s heun/000001.png churn/000001.png && bad "churn changed nothing"
good generate --network teacher.safetensors --outdir multi --seeds 0-2 --steps 3 --solver dpmpp_2m
has "3 DPM-Solver++(2M) steps" out
good generate --network teacher.safetensors --outdir multi2 --seeds 2 --steps 3 --solver dpmpp_2m --batch 1
same multi/000002.png multi2/000002.png
cmp -s multi/000001.png euler/000001.png && bad "DPM-Solver++ gave Euler's image"
refuse 2 "dpmpp_2m draws no noise" generate --network teacher.safetensors --outdir x --steps 3 --solver dpmpp_2m --S_churn 1
good generate --network uncond.safetensors --outdir plain --seeds 0 --steps 2

# Zip, npz, grid.
good generate --network student.safetensors --outdir set.zip --seeds 0-9 --class 3
good dataset check set.zip
has "10 images, 16 x 16" out
good generate --network student.safetensors --outdir set2.zip --seeds 0-9 --class 3 --batch 3 --threads 1
same set.zip set2.zip
good generate --network student.safetensors --outdir folder --format npz --seeds 0-3
[ -f folder/samples_4x16x16x3.npz ] || bad "no npz of the customary name"
good generate --network student.safetensors --grid grid.png --seeds 0-8 --grid-columns 3 --grid-scale 2
[ -s grid.png ] || bad "no grid"

# Wrong use and bad input.
refuse 2 "--network FILE is missing" generate --outdir x
refuse 2 "nothing would be kept" generate --network student.safetensors
refuse 2 "--class: 10 is not in 0…9" generate --network student.safetensors --outdir x --class 10
refuse 2 "--class: this network has no classes" generate --network uncond.safetensors --outdir x --class 0
refuse 2 "is no list of seeds" generate --network student.safetensors --outdir x --seeds 1-
refuse 2 "comes twice" generate --network student.safetensors --outdir x --seeds 1,2,1
refuse 2 "is not below" generate --network teacher.safetensors --outdir x --sigma_min 100
refuse 2 "--steps: 0 is not in" generate --network teacher.safetensors --outdir x --steps 0
refuse 2 "did you mean 'euler'?" generate --network teacher.safetensors --outdir x --solver euller
refuse 2 "a U-Net is needed" generate --network classifier.safetensors --outdir x
refuse 1 "not-there.safetensors" generate --network not-there.safetensors --outdir x
refuse 1 "broken.safetensors" generate --network broken.safetensors --outdir x
[ ! -e x ] || bad "a refused command made its folder"
size=$(wc -c <student.safetensors)
for keep in 0 1 8 9 100 5000 $((size / 2)) $((size - 1)); do
    head -c "$keep" student.safetensors >cut.safetensors
    refuse 1 "cut.safetensors" generate --network cut.safetensors --outdir x
done
printf '\377\377\377\377\377\377\377\177' >huge.safetensors
refuse 1 "huge.safetensors" generate --network huge.safetensors --outdir x
{ printf '\002\000\000\000\000\000\000\000'; printf '{}'; } >hollow.safetensors
refuse 1 "hollow.safetensors" generate --network hollow.safetensors --outdir x
for at in 0 3 9 20 60 200; do
    cp student.safetensors bent.safetensors
    printf '\377\000' | dd of=bent.safetensors bs=1 seek=$at conv=notrunc 2>/dev/null
    "$FDISTILL" generate --network bent.safetensors --outdir bent --seeds 0 >out 2>err
    [ $? -le 1 ] || { bad "changed bytes at $at of a network crashed"; cat err; }
done
echo >file
refuse 1 "file" generate --network student.safetensors --outdir file --seeds 0
refuse 1 "file/grid.png" generate --network student.safetensors --grid file/grid.png --seeds 0
refuse 1 "nowhere/set.zip" generate --network student.safetensors --outdir nowhere/set.zip --seeds 0
[ -z "$(find . -name '*.tmp-*')" ] || bad "temporary files were left behind: $(find . -name '*.tmp-*')"
finish
