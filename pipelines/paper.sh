#!/bin/sh
# paper.sh MODEL SFT OUT [OPTION...] - the paper's fine-tuning: pipelines/paper.yaml on the checkpoint MODEL and the data SFT, into OUT
#
# Killed or stopped, it goes on where it was when it is run again. OPTIONs are sa-train's and go before the recipe.
[ $# -ge 3 ] || { echo "usage: paper.sh MODEL SFT OUT [OPTION...]" >&2; exit 2; }
root=$(dirname "$0")/..
train=${BUILD:-$root/build}/sa-train
model=$1 data=$2 out=$3
shift 3
exec "$train" --config "$root/pipelines/paper.yaml" --model "$model" --data "$data" --out "$out" --resume "$@"
