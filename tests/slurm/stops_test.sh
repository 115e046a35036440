#!/usr/bin/env bash
# A signal to the ranks and a rank that is killed end a job on its way; it comes back, with the bits of one that was never stopped. The
# user's own scancel is for good.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
job=$(submit_training run 2 -- --steps=60)
train_alone 2 60
within 60 step_reached run 12
scancel --signal=USR1 "$job"                              # to the ranks, past the script
starts_again "$job" run.log 2
says run.log "cfm_train ended with 75"
within 60 step_reached run 32
pkill -KILL -f -o "^[^ ]*cfm_train .*--run_dir=$work/run"  # as when a node runs out of memory
starts_again "$job" run.log 3
grep -qE "cfm_train ended with (137|143)" run.log || fail "a killed rank's exit code"
job_ends "$job" 60
same_training run 000000060
[ ! -e run/attempts ] || fail "a job that is done leaves its count of starts"

job=$(submit_training cancelled 2 -- --steps=1000000)
within 60 step_reached cancelled 12
scancel "$job"
within 60 grep -q "ended with" cancelled.log
sleep 3
[ "$(squeue -h -t all -j "$job" -o %T)" = CANCELLED ] || fail "cancelled, but it is $(squeue -h -t all -j "$job" -o %T)"
says cancelled.log "cancelled; the same command goes on"
says_not cancelled.log "start 2"
