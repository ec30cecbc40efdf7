#!/bin/sh
# What ranks can do together (test_comm.c), on 1, 2 and 3 of them.
. "$SOURCE/tests/ranks/launch.sh"
for n in 1 2 3; do
    mpirun -n $n "$TEST_COMM" >out 2>&1 || { bad "test_comm on $n ranks"; cat out; }
    [ "$(grep -c 'PASSED  ] 7' out)" -eq $n ] || { bad "not $n ranks passed"; cat out; }
done
finish
