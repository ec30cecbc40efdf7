#!/bin/sh
# A disk that fills up: exit code 1, one line that says so, nothing left behind. Needs root for a tiny file system.
. "$SOURCE/tests/cli/common.sh"
[ "$(id -u)" -eq 0 ] || skip "making a small file system needs root"
mkdir disk
mount -t tmpfs -o size=64k tmpfs disk 2>mount-said || skip "cannot mount a tmpfs: $(cat mount-said)"
trap 'umount "$work/disk"; rm -rf "$work"' EXIT

refuse 1 "No space left" dataset create sprites --dest disk/x.zip --num 2000
absent disk/x.zip
head -c 60000 /dev/zero >disk/ballast
refuse 1 "No space left" dataset create sprites --dest disk/x.zip --num 200
absent disk/x.zip
[ "$(find disk -type f | wc -l)" -eq 1 ] || bad "files were left on the disk: $(ls disk)"
if [ -f "$SOURCE/samples/student.safetensors" ]; then
    refuse 1 "No space left" generate --network "$SOURCE/samples/student.safetensors" --outdir disk/out --seeds 0-63
    [ -z "$(find disk -name '*.tmp-*')" ] || bad "temporary files were left on the disk"
fi
finish
