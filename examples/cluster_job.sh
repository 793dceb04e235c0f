#!/bin/bash
# A training on a SLURM cluster: sbatch examples/cluster_job.sh --data.root /scratch/rallies
# Words behind the name of the file are options of `tracknet fit`. Before the time is up SLURM sends a signal, on
# which the job saves and puts itself back in the queue; --ckpt_path last goes on where it stopped, or begins.
#SBATCH --job-name=tracknet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=SIGUSR1@120
#SBATCH --requeue
#SBATCH --output=tracknet-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

# Decoded frames are kept on the disk of each node, where reading them does not wait for the network.
export TRACKNET_CACHE="${SLURM_TMPDIR:-/tmp}/tracknet-frames"

srun tracknet fit --config "${TRACKNET_CONFIG:-examples/cluster_job.yaml}" --ckpt_path last "$@"
