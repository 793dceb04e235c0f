#!/bin/bash
# A training whose processes torchrun starts, on one machine or several, without a cluster's queue.
#   one machine:   examples/torchrun.sh --data.root rallies
#   two machines:  NODES=2 FIRST=first.example.org examples/torchrun.sh --data.root /shared/rallies
# With two, the same line is given on each, in a folder that both see: there are the run and its checkpoints. FIRST
# is the name of one of them that the other can reach, at PORT (29400 unless given; each training there at the same
# time has its own). Words behind the file are options of `tracknet fit`.
set -euo pipefail

NODES="${NODES:-1}"
PROCESSES="${PROCESSES:-gpu}" # of each machine; gpu is one for each of its accelerators
if [[ "$PROCESSES" =~ ^[0-9]+$ ]]; then DEVICES="$PROCESSES"; else DEVICES=""; fi # else those of the configuration

# On one machine each training takes a port that is free and a name of its own, so that several do not meet.
if [ "$NODES" = 1 ]; then
  PORT="${PORT:-0}" ID="tracknet-$$"
else
  PORT="${PORT:-29400}" ID=tracknet
fi

# Each start gets a store of addresses of its own. Else processes find those of the start before, and fail again:
# https://github.com/pytorch/pytorch/issues/135712
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

# Where a process fails, torchrun ends the others and starts all of them again, three times at most. --ckpt_path last
# then goes on from the newest whole checkpoint, as it does when this file is run again; without one it begins.
torchrun --nnodes "$NODES" --nproc-per-node "$PROCESSES" --max-restarts 3 \
  --rdzv-backend c10d --rdzv-endpoint "${FIRST:-localhost}:$PORT" --rdzv-id "$ID" \
  -m tracknet fit --config "${TRACKNET_CONFIG:-examples/cluster_job.yaml}" --trainer.num_nodes "$NODES" \
  ${DEVICES:+--trainer.devices "$DEVICES"} --ckpt_path last "$@"
