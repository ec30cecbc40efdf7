#!/bin/sh
# tools/gpu_check as far as a machine without a GPU goes: its options, and that a missing GPU is a skip with a reason.
. "$SOURCE/tests/cli/common.sh"
check=$SOURCE/tools/gpu_check
code() { want=$1; shift; sh "$check" "$@" >out 2>err; got=$?; [ "$got" -eq "$want" ] || bad "gpu_check $*: exit code $got, want $want"; }
code 0 --help
grep -q 'Usage: tools/gpu_check' out || bad "no help page"
code 2 --fast
code 2 --seconds
code 2 --seconds soon
if nvidia-smi >/dev/null 2>&1; then [ "$failures" -eq 0 ] && skip "here is a GPU: run tools/gpu_check itself"; finish; fi
code 77 --results "$PWD/results.txt"
grep -q 'SKIP nvidia-smi finds no GPU' results.txt || bad "no reason: $(cat results.txt)"
grep -q 'gpu_check: 0 passed, 0 failed, 1 skipped' results.txt || bad "no last line: $(cat results.txt)"
# With a GPU pretended and programs that fail, hang or skip, the file says so and the rest goes on.
mkdir -p fake b
printf '#!/bin/sh\necho "Pretended, 1, 2, 3"\n' >fake/nvidia-smi
for name in fdistill ops golden update_device; do printf '#!/bin/sh\necho "%s $*"\n' $name >b/$name; done
printf '#!/bin/sh\necho wrong; exit 3\n' >b/golden
printf '#!/bin/sh\nexit 77\n' >b/update_device
printf '#!/bin/sh\nexec sleep 60\n' >b/fdistill
chmod +x fake/* b/*
PATH=$PWD/fake:$PATH
code 1 --no-build --build "$PWD/b" --results "$PWD/results.txt" --seconds 10
for line in 'PASS operations' 'SKIP optimiser' 'FAIL stored networks.*exit code 3' 'FAIL bench.*not done' 'SKIP bench.*no time'; do
    grep -q "$line" results.txt || bad "'$line' is not in: $(cat results.txt)"
done
finish
