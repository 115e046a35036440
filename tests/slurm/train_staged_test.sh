#!/usr/bin/env bash
# slurm/train.sbatch with CFM_STAGE_DIR: groups are set at the first start and kept, each node stages its own files and removes them, whatever
# ends the job; stopped, killed, and on another number of nodes it gives the losses of one rank that never was stopped.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
work=${work:?}
"$CFM_BIN/cfm_pack" --source="$CFM_SOURCE/configs/digits/digits.npz" --out="$work/data" --grey_levels=17 --count=300 --shards=4 \
  >pack.log 2>&1 || fail "packing"
flags=(--train_data="$work/data/train" --model_channels=32 --num_res_blocks=1 "--channel_mult=1,2" --attention_resolutions=4
       --num_head_channels=32 --num_classes=10 --dropout=0.1 --global_batch=24 --warmup_steps=1 --horizontal_flip=false --lr=1e-3
       --ema_decays=0.9 --log_every=1 --checkpoint_every=10 --threads=1)
"$CFM_BIN/cfm_train" "${flags[@]}" --run_dir="$work/alone" --data_groups=4 --steps=70 >alone.log 2>&1 || fail "training alone"

export CFM_DATA_GROUPS=4 CFM_STAGE_DIR=$work/local
start() {  # NODES STEPS: the job's number
  sbatch --parsable --nodes="$1" --time=10 --output="$work/job.log" "$CFM_SOURCE/slurm/train.sbatch" "${flags[@]}" \
    --run_dir="$work/run" --steps="$2"
}
step_reached() { grep -q "\"step\":$1,.*" <(grep '"event":"step"' "$work/run/events.jsonl"); }
nothing_staged() { [ -z "$(find "$work/local" -name '*.h5')" ]; }

job=$(start 2 50)
within 60 step_reached 12
[ "$(find "$work/local" -name '*.h5' | wc -l)" = 4 ] || fail "two nodes of two groups each staged $(find "$work/local" -name '*.h5' | wc -l) files"
scancel --batch --signal=USR1 "$job"                 # as before a time limit, or a preemption
starts_again "$job" job.log 2
says job.log "groups     4 on 2 nodes"
says job.log "cfm_train ended with 75"
within 60 step_reached 30
pkill -KILL -f -o "cfm_train.*--run_dir=$work/run"   # as when a node runs out of memory
starts_again "$job" job.log 3
job_ends "$job" 120
says job.log "staged in $work/local"
nothing_staged || fail "copies are left behind"
job=$(start 1 70)                                   # one node takes all four groups
job_ends "$job" 120
says job.log "groups     4 on 1 node"
nothing_staged || fail "copies are left behind"

# Groups that a flagfile sets.
printf -- '--data_groups=2\n' >groups.flags
job=$(CFM_DATA_GROUPS="" sbatch --parsable --nodes=1 --time=10 --output="$work/flagfile.log" "$CFM_SOURCE/slurm/train.sbatch" "${flags[@]}" \
  --flagfile=groups.flags --run_dir="$work/flagfile" --steps=3)
job_ends "$job" 60
says flagfile.log "groups     2 on 1 node"

"$CFM_PYTHON" - <<'PYTHON' || fail "the losses differ"
import json
def losses(run):
    lines = [json.loads(line) for line in open(f"{run}/events.jsonl")]
    return {line["step"]: line["loss"] for line in lines if line["event"] == "step"}
found, expected = losses("run"), losses("alone")
assert found.keys() == expected.keys() == set(range(1, 71)), found.keys() ^ expected.keys()
worst = max(abs(found[step] / expected[step] - 1) for step in expected)
print(f"largest relative difference of a loss: {worst:.1e}")
assert worst < 1e-4
PYTHON
