#!/usr/bin/env bash
# A job that reaches its time limit twice ends with the bits of one that was never stopped. Slurm looks at limits every 30 s.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
job=$(submit_training run 2 --time=1 --signal=B:USR1@50 -- --steps=120)
train_alone 2 120
# Held still between, so that it does not get done before its time is.
for nth in 1 2; do
  within 60 step_reached run $((40 * nth))
  pkill -STOP -f "^[^ ]*cfm_train .*--run_dir=$work/run" || fail "no rank to hold"
  until [ "$(grep -c 'stopped by the scheduler' run.log)" = $nth ]; do sleep 0.2; [ $SECONDS -lt 150 ] || fail "no signal $nth"; done
  pkill -CONT -f "^[^ ]*cfm_train .*--run_dir=$work/run"
  starts_again "$job" run.log $((nth + 1))
done
job_ends "$job" 60
[ "$(grep -c 'cfm_train ended with 75' run.log)" = 2 ] || fail "not stopped twice"
says run.log "cfm_train ended with 0"
same_training run 000000120
