#!/bin/sh
# The commands of the README and the results, on a scale of seconds: they run, print what they promise, and go on where they were.
. "$SOURCE/tests/cli/common.sh"
build=$(dirname "$FDISTILL")
# tool NAME OPTIONS...: must end with 0; output in out
tool() {
    name=$1; shift
    "$SOURCE/tools/$name" "$@" >out 2>err || { bad "tools/$name $*: exit code $?, expected 0"; tail -n 20 err; }
}
wrong() {
    name=$1; text=$2; shift 2
    "$SOURCE/tools/$name" "$@" >out 2>err
    got=$?
    [ "$got" -eq 2 ] || bad "tools/$name $*: exit code $got, expected 2"
    has "$text" err
}
tool demo --no-install --build "$build" --outdir demo --iterations 10 --images 100
has "Frechet distance" out
has "10 iterations" out
for file in student.png teacher.png report.html run-js-seed0-10/metric-student.jsonl; do
    [ -s "demo/$file" ] || bad "tools/demo wrote no $file"
done
wrong demo "wants at least 100" --images 5
wrong demo "unknown option '--nothing'" --nothing

mkdir long
mv demo/sprites.zip long
set -- --pairs 64 --passes 2 --iterations 3 --images 100 --outdir long --build "$build"
tool long_run "$@"
has "FD (sprites features)" out
student=long/js-seed0-64-2-3/network-snapshot-000000.safetensors
[ -s "$student" ] || bad "tools/long_run left no student"
cp "$student" before.safetensors
tool long_run "$@"
same before.safetensors "$student"
tool long_run "$@" --divergence kl      # from the same start
[ -s long/kl-seed0-64-2-3/network-snapshot-000000.safetensors ] || bad "tools/long_run left no student of kl"
wrong long_run "wants a whole number" --seed x

mkdir table
mv long/sprites.zip table
tool divergences --iterations 3 --images 100 --outdir table --build "$build" rkl kl
has "| kl |" out
[ "$(grep -c '^| [a-z]* | [0-9]' out)" -eq 2 ] || { bad "not two rows"; cat out; }
finish
