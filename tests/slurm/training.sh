# shellcheck shell=bash
# Sourced behind expect.sh by the tests of training jobs: tiny shards, the flags of a tiny run, and what a run must be equal to.
work=${work:?}
"$CFM_BIN/cfm_pack" --source="$CFM_SOURCE/configs/digits/digits.npz" --out="$work/data" --grey_levels=17 --count=300 --shards=4 \
  >pack.out 2>&1 || fail "packing: $(cat pack.out)"
flags=(--train_data="$work/data/train" --model_channels=32 --num_res_blocks=1 "--channel_mult=1,2" --attention_resolutions=4
       --num_head_channels=32 --num_classes=10 --dropout=0.1 --global_batch=24 --warmup_steps=1 --horizontal_flip=false --lr=1e-3
       --ema_decays=0.9 --log_every=1 --checkpoint_every=10 --keep_last=0 --threads=1)

# train_alone RANKS STEPS [FLAGS...]: the run $work/alone, never stopped, in the background
train_alone() {
  local ranks=$1 steps=$2
  shift 2
  mpirun -n "$ranks" --oversubscribe --bind-to none "$CFM_BIN/cfm_train" "${flags[@]}" --run_dir="$work/alone" --steps="$steps" "$@" >alone.out 2>&1 &
  alone=$!
}
# submit_training NAME NODES SBATCH'S OPTIONS... -- FLAGS...: of the run $work/NAME with the log $work/NAME.log; prints the job's number
submit_training() {
  local name=$1 nodes=$2 options=()
  shift 2
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  sbatch --parsable --nodes="$nodes" --time=10 --output="$work/$name.log" "${options[@]}" "$CFM_SOURCE/slurm/train.sbatch" "${flags[@]}" \
    --run_dir="$work/$name" "$@"
}
# Whether the run has made a step from here on.
step_reached() { awk -v least="$2" '/"event":"step"/ && match($0, /"step":[0-9]+/) { if (substr($0, RSTART + 7, RLENGTH - 7) + 0 >= least) found = 1 } END { exit !found }' "$work/$1/events.jsonl"; }
# same_training NAME STEP: every tensor of the run's checkpoint has the bits of the run alone
same_training() {
  local file count=0
  wait "$alone" || fail "training alone: $(cat alone.out)"
  for file in "$work/alone/checkpoints/step_$2"/*.safetensors; do
    cmp "$file" "$work/$1/checkpoints/step_$2/$(basename "$file")" || fail "$(basename "$file") of $1 differs from a run that was never stopped"
    count=$((count + 1))
  done
  [ $count = 4 ] || fail "$count files to compare, expected weights, one average, two moments"
}
