#!/usr/bin/env bash
# Ranks that hang, here behind a file system that does, do not mind Slurm's signals: Slurm kills the job at its time limit, twice. It
# comes back all the same, with the bits of one that was never stopped.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
job=$(CFM_FAIL_AT=rename:step_:2:$work/file_system_is_back submit_training run 2 --time=1 --signal=B:USR1@10 -- --steps=60)
train_alone 2 60
times_said() { [ "$(grep -cF -- "$2" "$1")" = "$3" ]; }
within 60 grep -q "start 1 on" run.log
for nth in 1 2; do
  within 120 times_said run.log "Slurm ends the job: time limit" $nth
  times_said run.log "stopped by the scheduler" $nth || fail "not told ahead of the limit"
  times_said "$MS_DIR/log/slurmctld.log" "Time limit exhausted for JobId=$job" $nth || fail "that was not the limit"
  within 60 state_is "$job" PENDING
  says_not run.log "cfm_train ended with"  # neither the ranks nor the script have lived to say so
  [ -z "$(pgrep -f "^[^ ]*cfm_train .*--run_dir=$work/run")" ] || fail "ranks are left"
  [ $nth = 1 ] || touch file_system_is_back
  starts_again "$job" run.log $((nth + 1))
done
job_ends "$job" 60
same_training run 000000060
[ "$(scontrol show job "$job" -o | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p')" = 2 ] || fail "not requeued twice"
