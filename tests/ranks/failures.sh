#!/bin/sh
# A rank that fails, dies or is stopped ends all of them, soon and with one message.
. "$SOURCE/tests/ranks/launch.sh"
good dataset create sprites --dest set.zip --num 24 --seed 1
teacher=$SOURCE/samples/sprites-teacher.safetensors
long=1000000
set -- distill --teacher "$teacher" --data set.zip --cond --divergence js --batch 6 --head-width 32 --grid 0 --nosubdir

# refuse_ranks N CODE TEXT ARGUMENTS...: exit code CODE, and TEXT in the one line that the program says
refuse_ranks() {
    n=$1 want=$2 text=$3; shift 3
    mpirun -n "$n" "$FDISTILL" "$@" >out 2>err
    got=$?
    [ $got -eq "$want" ] || bad "$n ranks: fdistill $*: exit code $got, expected $want"
    grep '^fdistill: ' err >said
    [ "$(wc -l <said)" -eq 1 ] || { bad "$n ranks: fdistill $*: not one message:"; cat err; }
    grep -qF -- "$text" said || bad "$n ranks: fdistill $*: message lacks '$text': $(cat said)"
}
refuse_ranks 3 2 "rank 0: unknown option '--flipx'" train --flipx
refuse_ranks 4 2 "rank 0: --batch 6 cannot be shared evenly by 4 ranks" "$@" --outdir uneven --iterations 2
refuse_ranks 2 2 "dataset works in one process: start it without mpirun" dataset check set.zip
refuse_ranks 2 2 "fid sprites works in one process" fid sprites --images set.zip
refuse_ranks 2 1 "nothing.zip" "$@" --outdir missing --iterations 2 --data nothing.zip
absent uneven missing

# One rank alone fails: here because it was told something else.
mpirun -n 1 "$FDISTILL" "$@" --outdir other --iterations 2 : -n 1 "$FDISTILL" "$@" --outdir other --iterations 2 --seed 3 >out 2>err
[ $? -eq 1 ] || bad "ranks with other options did not fail"
has "fdistill: rank 1: options, data or networks differ from those of rank 0" err

# rank_pid R: the process of this run that is rank R
rank_pid() {
    for process in $(pgrep -P "$launcher"); do
        tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$process"
    done
}
# launch DIR: three ranks in the background, until they have taken steps
launch() {
    dir=$1; shift
    mpirun -n 3 "$FDISTILL" "$@" --iterations $long --tick 0.006k --snap 0 --dump 0 --outdir "$dir" >"$dir.out" 2>"$dir.err" &
    launcher=$!
    for i in $(seq 600); do
        grep -q '^tick' "$dir/log.txt" 2>/dev/null && return
        sleep 0.1
    done
    bad "no step in a minute"; cat "$dir.err"
}
# ended SECONDS: the launcher's exit code in $code; it must end in this time
ended() {
    for i in $(seq $((10 * $1))); do
        kill -0 $launcher 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 $launcher 2>/dev/null || { bad "still running after $1 s"; kill -9 $launcher; }
    wait $launcher
    code=$?
}

launch killed "$@"
others="$(rank_pid 0) $(rank_pid 2)"
kill -9 "$(rank_pid 1)"
ended 20
[ $code -ne 0 ] || bad "a run with a killed rank ended well"
has "rank 1" killed.err
sleep 2                                       # mpirun may leave a moment before those it has killed
for process in $others; do
    ! grep -q '^State:[^Z]*$' "/proc/$process/status" 2>/dev/null || bad "the rank of process $process outlived a killed one"
done

# A signal to one rank: all stop after the same step, the state is saved, and goes on, here in one process.
launch stopped "$@"
kill -TERM "$(rank_pid 2)"
ended 60
[ $code -eq 130 ] || bad "exit code $code after a signal, expected 130"
has "fdistill: rank 0: stopped by a signal to another rank; state saved in stopped" stopped.err
[ "$(grep -c '^fdistill: ' stopped.err)" -eq 1 ] || { bad "not one message"; cat stopped.err; }
[ "$(find stopped -name 'training-state-*' | wc -l)" -eq 1 ] || bad "no state was saved"
finish
