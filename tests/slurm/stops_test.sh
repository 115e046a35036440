#!/usr/bin/env bash
# What ends a job on its way, and that it comes back with the bits of one that was never stopped: a signal to the ranks, a rank that is
# killed, a node's Slurm daemon of the step that is killed. The user's own scancel is for good.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
job=$(submit_training run 2 -- --steps=80)
train_alone 2 80
within 60 step_reached run 12
scancel --signal=USR1 "$job"                              # to the ranks, past the script
starts_again "$job" run.log 2
says run.log "cfm_train ended with 75"
within 60 step_reached run 32
pkill -KILL -f -o "^[^ ]*cfm_train .*--run_dir=$work/run"  # as when a node runs out of memory
starts_again "$job" run.log 3
grep -qE "cfm_train ended with (137|143)" run.log || fail "a killed rank's exit code"
within 60 step_reached run 52
pkill -KILL -f -n "slurmstepd: \[$job\.[0-9]"             # the youngest: of the step, not of the script
starts_again "$job" run.log 4
job_ends "$job" 60
same_training run 000000080

job=$(submit_training cancelled 2 -- --steps=1000000)
within 60 step_reached cancelled 12
scancel "$job"
within 60 grep -q "ended with" cancelled.log
sleep 3
[ "$(squeue -h -t all -j "$job" -o %T)" = CANCELLED ] || fail "cancelled, but it is $(squeue -h -t all -j "$job" -o %T)"
says cancelled.log "cancelled"
says_not cancelled.log "start 2"
