#!/usr/bin/env bash
# Ranks that hang, here behind a file system that does, do not mind Slurm's signals: Slurm kills the job at its time limit. It comes back
# all the same, with the bits of one that was never stopped.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
job=$(CFM_FAIL_AT=rename:step_:2:$work/file_system_is_back submit_training run 2 --time=1 --signal=B:USR1@10 -- --steps=60)
train_alone 2 60
within 60 grep -q "start 1 on" run.log
within 120 grep -q "Slurm ends the job: time limit" run.log
says run.log "stopped by the scheduler"
says "$MS_DIR/log/slurmctld.log" "Time limit exhausted for JobId=$job"
within 60 state_is "$job" PENDING
says_not run.log "ended with"  # neither the ranks nor the script have lived to say so
[ -z "$(pgrep -f "^[^ ]*cfm_train .*--run_dir=$work/run")" ] || fail "ranks are left"
touch file_system_is_back
starts_again "$job" run.log 2
job_ends "$job" 60
same_training run 000000060
[ "$(scontrol show job "$job" -o | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p')" = 1 ] || fail "not requeued once"
