#!/bin/sh
# --resume: the run that goes on, and what is said when there is none with these options.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest set.zip --num 32 --seed 1

# A folder of its own.
set -- train --data set.zip --cond --cbase 8 --cres 1 --blocks 1 --no-attention --dropout 0 --iterations 2 --tick 8 --grid 0
good "$@" --batch 8 --outdir run --nosubdir
cp run/log.txt before
refuse 2 "run: already holds a run: --resume continues it" "$@" --batch 8 --outdir run --nosubdir
refuse 2 "batch_size is 8 there and 4 here" "$@" --batch 4 --outdir run --nosubdir --resume
same run/log.txt before
good "$@" --batch 8 --outdir run --nosubdir --resume
has "complete" out

exec 9<run/log.txt                                      # another program has the run
flock -n 9 || bad "run/log.txt is still locked after its run"
refuse 1 "run: another fdistill is at work in this run" "$@" --batch 8 --outdir run --nosubdir --resume
exec 9<&-
good "$@" --batch 8 --outdir run --nosubdir --resume

mv set.zip moved.zip                                    # what is in a set decides, not where it lies
good "$@" --data moved.zip --batch 8 --outdir run --nosubdir --resume
has "complete" out
mv moved.zip set.zip

# Numbered folders: another run begins, and says why.
good "$@" --batch 8 --outdir runs
good "$@" --batch 4 --outdir runs --resume
has "A new run, not a resumed one: the newest there, 00000-" out
has "batch_size is 8 there and 4 here" out
good "$@" --batch 8 --outdir runs --resume
has "complete" out
[ "$(find runs -name training_options.json | wc -l)" -eq 2 ] || bad "not two runs in runs"
finish
