#!/bin/sh
# --device: what the program does on the emulated GPU is what it does on the CPU, within rounding; without a GPU it says so.
. "$SOURCE/tests/cli/common.sh"
for kind in student teacher classifier; do "$MAKE_NET" $kind $kind.safetensors || exit 1; done
plain=$FDISTILL

# Without a GPU, in a build with the backend and in this machine's own.
FDISTILL=$EMULATED EMULATOR_NO_DEVICE=1
export EMULATOR_NO_DEVICE
refuse 1 "--device cuda: no GPU can be used here" generate --network student.safetensors --outdir x --device cuda
refuse 1 "--device cuda: no GPU can be used here" fid net --data x --outdir y --device cuda
refuse 1 "--device cuda: no GPU can be used here" bench --device cuda
refuse 1 "--device cuda: no GPU can be used here" fid ref --data x --net y --dest z.npz --device cuda
good generate --network student.safetensors --outdir auto.npz --seeds 0-3 --device auto
unset EMULATOR_NO_DEVICE
FDISTILL=$plain
good generate --network student.safetensors --outdir cpu.npz --seeds 0-3
same auto.npz cpu.npz
if [ ! -e /dev/nvidiactl ]; then
    refuse 1 "--device cuda: " generate --network student.safetensors --outdir x --device cuda
    good generate --network student.safetensors --outdir auto.npz --seeds 0-3 --device auto
    same auto.npz cpu.npz
fi
refuse 2 "--device" generate --network student.safetensors --outdir x --device tpu

# Pictures: a level of 255 here and there, where a value lies on the border between two.
pixels() {      # FILE TO: the array of an npz
    start=$(LC_ALL=C grep -abo NUMPY "$1" | head -1 | cut -d: -f1)
    tail -c +$((start + 128)) "$1" | head -c "$3" >"$2"
}
alike() {       # A B BYTES: at most one level apart, and not often
    pixels "$1" a.bin "$3"; pixels "$2" b.bin "$3"
    [ "$(wc -c <a.bin)" -eq "$3" ] || bad "$1 is too short"
    cmp -l a.bin b.bin | awk -v all="$3" '
        function dec(o) { return int(o / 100) * 64 + int(o / 10) % 10 * 8 + o % 10 }
        { d = dec($2) - dec($3); if (d < 0) d = -d; if (d > 1) far++; near++ }
        END { exit far > 0 || near > all / 100 }' || bad "$1 and $2 differ by more than rounding"
}
FDISTILL=$EMULATED
good generate --network student.safetensors --outdir gpu.npz --seeds 0-3 --device cuda
alike gpu.npz cpu.npz 3072
good generate --network student.safetensors --outdir gpu1.npz --seeds 0-3 --device cuda --batch 1
same gpu.npz gpu1.npz
good generate --network teacher.safetensors --outdir heun-gpu.npz --seeds 0-1 --steps 3 --device cuda
good generate --network teacher.safetensors --outdir heun-cpu.npz --seeds 0-1 --steps 3
alike heun-gpu.npz heun-cpu.npz 1536

# Features.
good dataset create sprites --dest set.zip --num 64 --seed 1
value() { sed -n "s/^ *\"value\": \([^,]*\),*$/\1/p" out; }
good fid ref --data set.zip --net classifier.safetensors --dest ref.npz
for device in cpu cuda; do
    good fid calc --network student.safetensors --num 16 --ref ref.npz --net classifier.safetensors --json --device $device
    value >fd-$device
done
paste fd-cpu fd-cuda | awk '{d = $1 - $2; if (d < 0) d = -d; exit !($1 > 0 && d < 1e-3 * $1)}' || bad "distances $(cat fd-cpu) and $(cat fd-cuda)"

# Trainings: the losses of two iterations, a resumed run, and networks that load everywhere.
numbers() {     # KEY: every mean of it in the statistics of run $1
    sed -n "s|.*\"$2\": *{[^}]*\"mean\": *\([-0-9.eE+]*\).*|\1|p" "$1"/*/stats.jsonl
}
close_numbers() {
    numbers "$1" "$3" >n1; numbers "$2" "$3" >n2
    [ -s n1 ] || { bad "no $3 in $1"; return; }
    paste n1 n2 | awk '{d = $1 - $2; if (d < 0) d = -d; if (!($1 != 0 && d <= 2e-3 * ($1 < 0 ? -$1 : $1))) wrong = 1} END {exit wrong}' ||
        bad "$3 of $1 and $2: $(paste n1 n2 | tr '\n' ' ')"
}
train() { good train --data set.zip --cond --cbase 8 --cres 1,2 --blocks 1 --attn 8 --dropout 0.1 --batch 8 --batch-gpu 4 \
              --iterations 2 --tick 8 --grid 0 --quiet "$@"; }
distil() { good distill --teacher teacher.safetensors --data set.zip --cond --divergence js --batch 8 --iterations 3 \
               --update-freq 2 --tick 8 --grid 2 --quiet "$@"; }
if [ "${SANITIZED:-0}" = 1 ]; then      # comparisons are for the normal build: an emulated device under sanitizers is slow
    train --outdir train-gpu --iterations 1 --device cuda
    distil --outdir distil-gpu --iterations 2 --grid 0 --device cuda
    finish
fi
train --outdir train-cpu
train --outdir train-gpu --device cuda
close_numbers train-cpu train-gpu Loss/loss
close_numbers train-cpu train-gpu Grad/norm
distil --outdir distil-cpu
distil --outdir distil-gpu --device cuda
for key in Loss/student Loss/fake_score Loss/disc Grad/student F/h_mean; do close_numbers distil-cpu distil-gpu $key; done
features() { good fid net --data set.zip --attributes sprites --channels 8,8 --batch 16 --iterations 3 --tick 8 --quiet "$@"; }
features --outdir net-cpu
features --outdir net-gpu --device cuda
close_numbers net-cpu net-gpu Loss/loss

# A run that stopped and went on is the run that did not stop: all that the device holds comes home and goes back.
train --outdir whole --iterations 3 --dump 1 --device cuda
train --outdir halves --iterations 2 --dump 1 --device cuda
good train --data set.zip --cond --cbase 8 --cres 1,2 --blocks 1 --attn 8 --dropout 0.1 --batch 8 --batch-gpu 4 \
    --iterations 3 --tick 8 --grid 0 --quiet --outdir halves --dump 1 --device cuda --resume
same whole/*/network-snapshot-000000.safetensors halves/*/network-snapshot-000000.safetensors

# Memory is taken before the first step: where a pass does not fit, a smaller one is; where nothing fits, one line says so.
plan() {        # KIB COMMAND: images of a pass on a device of that size
    kib=$1; shift
    EMULATOR_KIB=$kib; export EMULATOR_KIB
    good "$@" --batch 8 --grid 0 --device cuda --outdir small --dry-run
    unset EMULATOR_KIB
    images=$(sed -n 's/.* a pass of \([0-9]*\) image.*/\1/p' out)
    total=$(sed -n 's/.* a pass of .*: \([0-9]*\)[0-9.]* MiB on a device.*/\1/p' out)
}
for command in "train --data set.zip --cond --cbase 8 --cres 1,2 --blocks 1 --attn 8" "distill --teacher teacher.safetensors --data set.zip --cond --divergence js"; do
    plan 1000000 $command
    [ "$images" = 8 ] || bad "$command: passes of $images, and a device of a gigabyte"
    plan $((1024 * (total + 1) * 3 / 4)) $command
    [ "$images" -lt 8 ] || bad "$command: passes of $images, and three quarters of the memory"
    EMULATOR_KIB=100; export EMULATOR_KIB
    refuse 1 "out of GPU memory" $command --batch 8 --device cuda --outdir small
    unset EMULATOR_KIB
    absent small
done

# Timings name the device and do not claim a peak that nobody measured.
for kind in denoise train generate; do
    good bench --network student.safetensors --case $kind --batch 2 --images 2 --reps 1 --device cuda
    has "images/s" out
done
good bench --network student.safetensors --batch 2 --reps 1 --device cuda --ops --json
has '"device": "emulated device' out
if grep -q 'peak"' out; then bad "bench --device cuda speaks of a peak"; fi
finish
