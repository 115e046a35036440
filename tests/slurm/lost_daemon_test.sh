#!/usr/bin/env bash
# Slurm's daemon of a step is killed on one node, and that node's rank dies with it: Slurm does not end the job, its watchdog does. It
# comes back on the same nodes, with the bits of a run that was never stopped.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
job=$(submit_training run 2 -- --steps=60)
train_alone 2 60
within 60 step_reached run 22
pkill -KILL -f -n "slurmstepd: \[$job\.[0-9]"  # the youngest: of the step, not of the script
within 90 grep -q "start 2 on" run.log
says run.log "has not been heard of for"  # the watchdog of the other one
job_ends "$job" 60
same_training run 000000060
