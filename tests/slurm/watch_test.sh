#!/usr/bin/env bash
# slurm/submit --eval=watch: the evaluator starts with the training, evaluates each checkpoint as it comes, and ends when the run is complete;
# if that stops short, the evaluator says so.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
"$CFM_BIN/cfm_pack" --source="$CFM_SOURCE/configs/digits/digits.npz" --out="$work/data" --split=val --grey_levels=17 --first=300 --count=8 >pack.out 2>&1
evaluation="--data=$work/data/val --solver=midpoint --steps=2 --check_images=0"
submit_both() {  # NAME STEPS SECONDS: the evaluator waits as long for a checkpoint
  "$CFM_SOURCE/slurm/submit" --nodes=1 --time=10 --output="$1.log" --eval=watch --eval_sbatch="--time=10 --output=$1_evaluator.log" \
    --eval_nll="$evaluation --watch_idle=$3" -- "${flags[@]}" --run_dir="$work/$1" --steps="$2" >submitted.out
}
job_of() { sed -n "s/^submit: job \([0-9]*\) is $1\b.*/\1/p" submitted.out; }
is_evaluated() { [ "$(find "$1/results" -name "nll-step_0000000$2-*.json" | wc -l)" = 1 ]; }

submit_both run 60 300
training=$(job_of train) evaluator=$(job_of eval_nll_1_1)
within 60 step_reached run 22
pkill -STOP -f "^[^ ]*cfm_train .*--run_dir=$work/run"  # held still until the first one is evaluated
within 60 is_evaluated run 10
pkill -CONT -f "^[^ ]*cfm_train .*--run_dir=$work/run"
job_ends "$training" 90
job_ends "$evaluator" 90
for step in 10 20 30 40 50 60; do is_evaluated run $step || fail "step $step is not evaluated once"; done
says run_evaluator.log "cfm_eval_nll ended with 0"
says run_evaluator.log "up to step_000000060, its last, has had its turn"
[ ! -e run/attempts ] || fail "a job that is done leaves its count of starts"

submit_both short 1000000 5
training=$(job_of train) evaluator=$(job_of eval_nll_1_1)
within 90 is_evaluated short 10
scancel "$training"
within 90 state_is "$evaluator" FAILED
says short_evaluator.log "cfm_eval_nll ended with 0"
says short_evaluator.log "short is not complete"
says_not short_evaluator.log "requeued"
