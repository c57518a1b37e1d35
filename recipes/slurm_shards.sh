#!/bin/bash
# Stages 0 and 1 as 32 independent shards, then the rest on one GPU. Submit this file with `bash`, not with `sbatch`.
set -euo pipefail

OUT=/shared/runs/mine
OPTIONS="--preset gopro-reds --restorer nafnet.pth --id-pairs /shared/GOPRO_Large --ood /shared/photographs"
LIMITS="--gpus=1 --cpus-per-task=8 --time=04:00:00 --signal=TERM@60 --requeue --open-mode=append"

# the choice of settings and the demonstration are made once, by whoever comes first; the others wait for it
shards=$(sbatch --parsable --array=1-32 $LIMITS --wrap "lego_refine $OPTIONS --out $OUT --shard \$SLURM_ARRAY_TASK_ID/32")
sbatch --dependency="afterok:$shards" $LIMITS --wrap "lego_run $OPTIONS --out $OUT"
