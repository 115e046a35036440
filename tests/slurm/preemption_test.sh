#!/usr/bin/env bash
# A job that has to make room for one of a higher partition saves, comes back when that is done, and ends with the same bits.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
job=$(submit_training run 2 --partition=low -- --steps=100)
train_alone 2 100
within 60 step_reached run 22
urgent=$(sbatch --parsable --partition=high --nodes=2 --output="$work/urgent.log" --wrap "srun hostname")
job_ends "$urgent" 60
says run.log "cfm_train ended with 75"
starts_again "$job" run.log 2
job_ends "$job" 60
same_training run 000000100
