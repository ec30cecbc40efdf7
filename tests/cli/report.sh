#!/bin/sh
# report: a page with what the run left; damaged and missing files.
. "$SOURCE/tests/cli/common.sh"
good dataset create sprites --dest s.zip --num 32
good train --data s.zip --cond --outdir run --nosubdir --cbase 8 --cres 1 --blocks 1 --no-attention --dropout 0 \
    --batch 250 --iterations 8 --tick 1 --grid 2
printf '%s\n' '{"metric": "FD (<net>)", "results": {"value": 1.25}}' >run/metric-fd.jsonl
good report run/
page=run/report.html
has "run" $page
has "FD (&lt;net&gt;)" $page
has "<td>value</td><td>1.25</td>" $page
has "data:image/png;base64,iVBORw0KGgo" $page
has 'stroke="#1f77b4" d="M' $page
has '&quot;lr&quot;' $page
# The picture on the page is the file.
sed -n 's/.*fakes.*base64,\([^"]*\)".*/\1/p' $page | base64 -d >picture.png
cmp -s picture.png run/fakes000002.png || bad "the picture on the page differs from the file"
refuse 1 "no/such" report run --out no/such/place.html
# A last line cut short is left out, damage inside is an error and leaves the old page.
printf '{"Loss/loss": {"num": 1, "me' >>run/stats.jsonl
good report run --out cut.html --title 'A & B'
has "<h1>A &amp; B</h1>" cut.html
printf 'an": }\n' >>run/stats.jsonl
refuse 1 "stats.jsonl" report run --out broken.html
absent broken.html
mkdir empty
refuse 2 "has no training_options.json" report empty
refuse 2 "missing" report
finish
