#!/usr/bin/env bash
# What is not tried again: what would fail the same way, a run that another job trains, and starts that bring nothing new.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
job=$(submit_training bad 1 -- --steps=100 --ema_decays=1.5)
within 60 state_is "$job" FAILED
says bad.log "cfm_train ended with 2"
says_not bad.log "requeued"
# A launcher that kills the other ranks may hide the code of the one that refused: what it has written into the run's folder counts.
mkdir masked
printf '#!/bin/sh\nCFM_EXIT_FILE="" "%s/cfm_train" "$@"\nkill -KILL $$\n' "$CFM_BIN" >masked/cfm_train
chmod +x masked/cfm_train
job=$(CFM_BIN=$work/masked submit_training hidden 1 -- --steps=100 --val_every=5 --val_data="$work/nowhere")
within 60 state_is "$job" FAILED
grep -q '"exit_code":2' hidden/failures.jsonl || fail "the run's folder says nothing"
says hidden.log "it would fail again the same way"
says_not hidden.log "requeued"

# On several nodes, before the run has an owner who could write anything down, and with a rank that is slow to go, which srun kills: the
# code is what ended the ranks, not srun's end of them.
mkdir slow
printf '#!/bin/sh\n"%s/cfm_train" "$@"\ncode=$?\n[ "$SLURM_PROCID" = 0 ] || sleep 5\nexit $code\n' "$CFM_BIN" >slow/cfm_train
chmod +x slow/cfm_train
job=$(CFM_BIN=$work/slow submit_training bad2 2 -- --steps=100 --ema_decays=1.5)
within 60 state_is "$job" FAILED
says bad2.log "cfm_train ended with 2"
says_not bad2.log "requeued"

first=$(submit_training run 1 -- --steps=1000000)
within 60 step_reached run 12
second=$(sbatch --parsable --nodes=1 --time=10 --output="$work/second.log" "$CFM_SOURCE/slurm/train.sbatch" "${flags[@]}" --run_dir="$work/run" --steps=1000000)
within 60 state_is "$second" FAILED
says second.log "is trained by host n1"
says second.log "Slurm job $first"
says second.log "cfm_train ended with 2"
says_not second.log "requeued"
state_is "$first" RUNNING || fail "the first job is gone"
scancel "$first"

# Two words on the groups that a new run's images are dealt into, one of them in a flagfile.
printf -- '--data_groups=2\n' >groups.flags
job=$(CFM_STAGE_DIR=$work/local CFM_DATA_GROUPS=4 submit_training groups 1 -- --steps=10 --flagfile="$work/groups.flags")
within 60 state_is "$job" FAILED
says groups.log "--data_groups=2 and CFM_DATA_GROUPS=4: leave one of them out"

# A start that dies before its first save brings nothing new; one that dies behind a save has brought that.
export CFM_MAX_STARTS=2
job=$(CFM_FAIL_AT=rename:step_:1:kill submit_training dying 1 -- --steps=40)
starts_again "$job" dying.log 2
within 60 state_is "$job" FAILED
says dying.log "2 starts in a row have brought nothing new"
says_not dying.log "start 3"
# Where starts cannot be counted, as on a full disk, Slurm's own count of them holds.
mkdir uncounted
touch uncounted/attempts
job=$(CFM_FAIL_AT=rename:step_:1:kill submit_training uncounted 1 -- --steps=40)
starts_again "$job" uncounted.log 2
within 60 state_is "$job" FAILED
says uncounted.log "attempts/$job cannot be written"
says uncounted.log "2 starts in a row have brought nothing new"
says_not uncounted.log "start 3 on"
# It is asked for again where slurmctld does not answer.
mkdir flaky
ln -s "$CFM_BIN"/cfm_train flaky
printf '#!/bin/sh\nif [ "$1" = requeue ] && mkdir "%s/flaky/asked" 2>/dev/null; then\n  echo "Unable to contact slurm controller (connect failure)" >&2\n  exit 1\nfi\nexec "%s" "$@"\n' "$work" "$(command -v scontrol)" >flaky/scontrol
chmod +x flaky/scontrol
job=$(CFM_BIN=$work/flaky CFM_FAIL_AT=rename:step_:2:kill submit_training limping 1 -- --steps=30)
starts_again "$job" limping.log 2
starts_again "$job" limping.log 3
says limping.log "Unable to contact slurm controller"
job_ends "$job" 60
[ -e limping/checkpoints/step_000000030/manifest.json ] || fail "not trained to its end"
