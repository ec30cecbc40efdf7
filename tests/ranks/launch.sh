# Sourced by the scripts beside it, which run the program under mpirun. COMPARE is compare_states.
. "$SOURCE/tests/cli/common.sh"
"$FDISTILL" doctor | grep -q '^ranks .*Open MPI' || skip "built without Open MPI"
command -v mpirun >/dev/null || skip "no mpirun"

export OMP_NUM_THREADS=1
# Continuous integration is root, and has fewer cores than some of these have ranks.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
# Open MPI leaves memory behind, much of it by plugins that it has unloaded: no suppression can name them. Leaks of our own
# show in the tests without mpirun.
export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"

# ranks N ARGUMENTS...: the program on N ranks; output in $work/out, $work/err
ranks() {
    n=$1; shift
    mpirun -n "$n" "$FDISTILL" "$@" >out 2>err || { bad "$n ranks: fdistill $*: exit code $?, expected 0"; cat err; }
}
