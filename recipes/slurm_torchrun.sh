#!/bin/bash
# One group of processes over two nodes, by torchrun: every stage is shared, Stage 2 by all GPUs.
#SBATCH --job-name=lego
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

OUT=/shared/runs/mine
OPTIONS=(--preset gopro-reds --restorer nafnet.pth --id-pairs /shared/GOPRO_Large --ood /shared/photographs)

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint "$head:29500" --rdzv-id "$SLURM_JOB_ID" \
    --no-python lego_run "${OPTIONS[@]}" --out "$OUT"
