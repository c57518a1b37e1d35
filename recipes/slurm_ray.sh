#!/bin/bash
# A run over the nodes of a Slurm job, by Ray (2.49 or newer for `ray symmetric-run`).
# All nodes see the run folder and have lego_nb: pip install "lego-nb[ray]".
#SBATCH --job-name=lego
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

OUT=/shared/runs/mine
OPTIONS=(--preset gopro-reds --restorer nafnet.pth --id-pairs /shared/GOPRO_Large --ood /shared/photographs)

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" --num-gpus 8 -- \
    env RAY_ADDRESS="$head:6379" lego_run "${OPTIONS[@]}" --out "$OUT" --engine ray --ray-train 8
