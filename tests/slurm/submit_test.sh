#!/usr/bin/env bash
# slurm/submit: one command for a training and its evaluators; chains, sweeps, and a lead time that is checked. What --dry_run prints is
# what is done.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
"$CFM_BIN/cfm_pack" --source="$CFM_SOURCE/configs/digits/digits.npz" --out="$work/data" --split=val --grey_levels=17 --first=300 --count=8 >pack.out 2>&1
submit=$CFM_SOURCE/slurm/submit
refused() { "$submit" "$@" >refused.out 2>&1 && fail "taken: $*"; [ $? = 2 ] || fail "not refused with 2: $*"; }
job_of() { sed -n "s/^submit: job \([0-9]*\) is $1\b.*/\1/p" submitted.out; }

# Flags are found where the programs find them.
mkdir parts
printf -- '--a=3\n--b=3\n' >parts/inner.flags
printf -- '--b=2  # two\n--flagfile=inner.flags\n# --a=9\n' >parts/middle.flags
printf -- '\xef\xbb\xbf--c=1\r\n--flagfile=parts/middle.flags\n' >outer.flags
printf -- '--a=7\n' >later.flags
is_found() {  # VALUE NAME FLAGS...
  # shellcheck source=slurm/run_folder.sh
  [ "$(source "$CFM_SOURCE/slurm/run_folder.sh"; flag_value "${@:2}")" = "$1" ] || fail "flag_value ${*:2} is not $1"
}
is_found 3 a --flagfile=outer.flags
is_found 2 b --flagfile=outer.flags
is_found 1 c --flagfile=outer.flags
is_found 7 a --flagfile=outer.flags --flagfile=later.flags
is_found 3 a --flagfile=later.flags --flagfile=outer.flags
is_found 5 a --a=5 --flagfile=outer.flags
is_found "" d --flagfile=outer.flags --flagfile=none.flags

# A chain, where nothing is requeued: each part is stopped on the way, the last is not needed. Evaluated when it is complete: by a job,
# and by an array with a line of flags a task.
evaluation="--data=$work/data/val --solver=midpoint --steps=2 --check_images=0"
printf -- '%s\n' "# two checkpoints" "--step=20 $evaluation" "" "--step=40 $evaluation" >evaluations.txt
command=(--chain=4 --nodes=1 --time=10 --output=chain.log --eval=after --eval_sbatch="--output=%x-%j.log"
         --eval_nll="$evaluation" --eval_nll="@evaluations.txt")
"$submit" --dry_run "${command[@]}" -- "${flags[@]}" --run_dir="$work/chain" --steps=60 >dry.out
[ -z "$(squeue -h)" ] || fail "--dry_run has submitted jobs"
[ "$(grep -c 'train.sbatch' dry.out)" = 4 ] || fail "four parts: $(cat dry.out)"
"$submit" "${command[@]}" -- "${flags[@]}" --run_dir="$work/chain" --steps=60 >submitted.out
for part in 1 2; do
  within 60 grep -q "part $part of 4" chain.log
  within 60 step_reached chain $((part * 20 + 2))
  scancel --batch --signal=USR1 "$(job_of "train_$part")"
done
job_ends "$(job_of train_4)" 60
says chain.log "part 2 of 4 ends"
says chain.log "part 4 of the chain: nothing is left to do"
says_not chain.log "requeued"
job_ends "$(job_of eval_nll_1)" 60
job_ends "$(job_of eval_nll_2)" 60
[ "$(find chain/results -name 'nll-step_000000060-*.json' | wc -l)" = 1 ] || fail "the newest checkpoint is not evaluated once"
for step in 20 40; do
  [ "$(find chain/results -name "nll-step_0000000$step-*.json" | wc -l)" = 1 ] || fail "step $step is not evaluated once"
done

# One task a GPU, unless told otherwise; of evaluators too, whose script has a single one.
tasks_of() { "$submit" --dry_run --partition=gpu --nodes=2 --time=10 "$@" -- --run_dir=new 2>/dev/null | grep -o -- '--ntasks[^ )]*' | tr '\n' ' '; }
[ "$(tasks_of --gpus-per-node=a100:4)" = "--ntasks-per-node=4 " ] || fail "$(tasks_of --gpus-per-node=a100:4)"
[ "$(tasks_of --gpus-per-node=4 --ntasks-per-node=2)" = "--ntasks-per-node=2 " ] || fail "$(tasks_of --gpus-per-node=4 --ntasks-per-node=2)"
[ "$(tasks_of)" = "" ] || fail "$(tasks_of)"
[ "$(tasks_of --eval_sbatch="-N 3 --gpus-per-node=2" --eval_nll="--data=d")" = "--ntasks=6 " ] || fail "$(tasks_of --eval_sbatch="-N 3 --gpus-per-node=2" --eval_nll="--data=d")"

# The lead time is checked against the saves that the run has measured.
sed -i 's/"event":"checkpoint",\(.*\)"seconds":[-+.0-9e]*/"event":"checkpoint",\1"seconds":100.0/' chain/events.jsonl
refused --dry_run --lead=200 -- --run_dir=chain
says refused.out "--lead=200 s is too short for chain: its saves took up to 100.0 s"
"$submit" --dry_run --lead=300 -- --run_dir=chain >warned.out 2>&1 || fail "refused: $(cat warned.out)"
says warned.out "warning: --lead=300 s is less than twice"
refused --dry_run --lead=600 --time=10 -- --run_dir=new
says refused.out "no less than the job's time of 600 s"
refused --dry_run -- --steps=5
says refused.out "--run_dir=RUN is missing"

# Where sbatch does not hand the environment on, what is meant for the jobs is named; the ranks have all that the site's file says.
env | sed -n 's/^OMPI_MCA_/export &/p' >site.sh
SBATCH_EXPORT=NONE "$submit" --site=site.sh --nodes=2 --time=10 --stage="$work/local" --output=bare.log -- "${flags[@]}" --run_dir="$work/bare" --steps=20 >submitted.out
job_ends "$(job_of train)" 60
grep -q '"ranks":2' bare/events.jsonl || fail "not two ranks"
says bare.log "staged in $work/local"
[ -z "$(find "$work/local" -name '*.h5')" ] || fail "staged copies are left behind"
exported() { env -i PATH="$PATH" "$submit" --dry_run --site=site.sh "$@" -- --run_dir=new | grep -o -- '--export=[^ ]*' | tail -n 1; }
[ "$(exported --export=A=1,B)" = '--export=A=1\,B\,CFM_LEAD_SECONDS\,CFM_SITE\,CFM_SLURM' ] || fail "$(exported --export=A=1,B)"
[ "$(exported --export NONE)" = '--export=CFM_LEAD_SECONDS\,CFM_SITE\,CFM_SLURM' ] || fail "$(exported --export NONE)"
[ "$(exported --export=ALL,A=1)" = '--export=ALL\,A=1' ] || fail "$(exported --export=ALL,A=1)"

# A launch that is only tried.
srun --nodes=2 --ntasks=2 --time=5 --mpi=pmix "$CFM_BIN/cfm_train" "${flags[@]}" --run_dir="$work/tried" --steps=20 --check >check.out 2>&1 ||
  fail "--check: $(cat check.out)"
grep -qE '^ok +launch +2 ranks, as [A-Z_]+=2 says' check.out || fail "the launch: $(cat check.out)"
grep -qE '^(ok|warn) +ranks +0 on host n1: ' check.out && grep -qE '^(ok|warn) +ranks +1 on host n2: ' check.out || fail "the ranks: $(cat check.out)"
[ ! -e tried ] || fail "--check has made a run"

# A sweep, with evaluations of each of its runs; of a run that cannot be trained there is none. All of it in a container, or what is
# started like one.
printf '#!/bin/sh\necho "$3" >>"%s/inside.txt"\nshift 2\nexec "$@"\n' "$work" >inside
chmod +x inside
echo "CFM_CONTAINER=\"$work/inside --bind /data\"" >inside.sh
printf -- '%s\n' "--run_dir=$work/good --seed=1" "--run_dir=$work/bad --clip_norm=-1" >sweep.txt
"$submit" --site=inside.sh --sweep=sweep.txt --nodes=1 --time=10 --eval_nll="$evaluation" \
  --eval_fid="--features=digits:$CFM_SOURCE/configs/digits/features.safetensors --reference=$work/data/train --count=40 --repeats=1 --solver=midpoint --steps=2" \
  -- "${flags[@]}" --steps=20 >submitted.out
training=$(job_of train) evaluator=$(job_of eval_nll_1)
within 60 state_is "${evaluator}_1" COMPLETED
within 60 state_is "${evaluator}_2" CANCELLED
state_is "${training}_2" FAILED || fail "the second run of the sweep"
[ "$(find good/results -name 'nll-step_000000020-*.json' | wc -l)" = 1 ] || fail "the sweep's run is not evaluated"
within 60 state_is "$(job_of eval_fid_2)_1" COMPLETED
[ "$(find good/results -name 'fid-step_000000020-*.json' | wc -l)" = 1 ] || fail "the sweep's run has no FID"
[ "$(sort -u inside.txt | tr '\n' ' ')" = "cfm_eval_fid cfm_eval_nll cfm_train " ] || fail "in the container: $(cat inside.txt)"
[ ! -e bad/checkpoints ] || fail "the run that cannot be trained has checkpoints"
