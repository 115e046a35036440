#!/usr/bin/env bash
# Ranks that mpirun starts, in place of srun: a job that is stopped, and one whose rank is killed, comes back all the same.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
export CFM_LAUNCHER=mpirun
job=$(submit_training run 2 -- --steps=60)
train_alone 2 60
within 60 step_reached run 12
scancel --batch --signal=USR1 "$job"
starts_again "$job" run.log 2
says run.log "cfm_train ended with 75"
within 60 step_reached run 32
pgrep -f "^mpirun .*--run_dir=$work/run" >/dev/null || fail "mpirun has not started it"
pkill -KILL -f -o "^[^ ]*cfm_train .*--run_dir=$work/run"
starts_again "$job" run.log 3
job_ends "$job" 60
grep -q '"ranks":2' run/events.jsonl || fail "not two ranks"
same_training run 000000060
