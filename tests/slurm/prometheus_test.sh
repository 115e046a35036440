#!/usr/bin/env bash
# A training on two nodes is found by a real Prometheus over the nodes' own addresses, has every panel, every rule and what alerts name answered, keeps its rates true
# over a kill and a restart, and is gone with its job: a killed one, and one whose ranks hang, too.
# shellcheck source=tests/slurm/expect.sh
source "$CFM_SOURCE/tests/slurm/expect.sh"
# shellcheck source=tests/slurm/training.sh
source "$CFM_SOURCE/tests/slurm/training.sh"
work=${work:?}
"$CFM_BIN/cfm_pack" --source="$CFM_SOURCE/configs/digits/digits.npz" --out="$work/data" --split=val --grey_levels=17 --first=300 --count=20 >pack.out 2>&1
targets="$work/targets of all"
mkdir "$targets"
cat >prometheus.yml <<YML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ['$CFM_SOURCE/metrics/prometheus/recording.yml', '$CFM_SOURCE/metrics/prometheus/alerts.yml']
scrape_configs:
- job_name: cfm
  file_sd_configs:
  - files: ['$targets/*.json']
    refresh_interval: 1s
YML
prometheus --config.file=prometheus.yml --storage.tsdb.path="$work/tsdb" --web.listen-address=127.0.0.1:9090 --log.level=warn >prometheus.log 2>&1 &
cat >asking.py <<'PYTHON'
import json, urllib.parse, urllib.request


def ask(query):
    url = "http://127.0.0.1:9090/api/v1/query?query=" + urllib.parse.quote(query)
    return json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]


def value(query):
    found = ask(query)
    assert len(found) == 1, (query, found)
    return float(found[0]["value"][1])
PYTHON
ask() {  # QUERY: its series, one a line: labels that matter, and the value
  "$CFM_PYTHON" - "$1" <<'PYTHON'
import sys
from asking import ask
for one in ask(sys.argv[1]):
    print(one["metric"].get("node", ""), one["metric"].get("instance", "").split(":")[0], one["value"][1])
PYTHON
}
is() { [ "$(ask "$1" | sort)" = "$2" ]; }
at_least() { ask "$1" | awk -v least="$2" '$NF + 0 >= least { found = 1 } END { exit !found }'; }
no_target() { [ -z "$(find "$1" -name '*.json' 2>/dev/null)" ]; }
no_rank() { ! pgrep -f "^[^ ]*cfm_train .*--run_dir=$work/$1"; }
printf 'CFM_METRICS_TARGETS="%s"\n' "$targets" >site.sh  # a free port for each start: to Prometheus two instances

# A flag that is given, in a flagfile too, is left as it is.
printf -- '--metrics=127.0.0.1:9464\n' >loopback.flags
ranks_flags() { CFM_METRICS_TARGETS=all "$CFM_SOURCE/slurm/rank.sh" echo "$@"; }
[ "$(ranks_flags --flagfile=loopback.flags)" = "--flagfile=loopback.flags" ] || fail "overridden: $(ranks_flags --flagfile=loopback.flags)"
[ "$(ranks_flags --metrics=0.0.0.0:1 --metrics_targets=mine)" = "--metrics=0.0.0.0:1 --metrics_targets=mine" ] || fail "overridden"

# ---- found on both nodes; every panel and rule has data ----
mkdir -p run/results
echo '{"metric": "nll", "bits_per_dim": 2.5, "nfe": {"mean": 80}}' >run/results/nll-step_000000020-a1.json
echo '{"metric": "fid", "fid": {"mean": 4.5}, "sfid": {"mean": 5}, "is_10_splits": {"mean": 9}, "is_splits_of_5000": {"mean": 9},
  "kid": {"mean": 0.1}, "precision": {"mean": 0.75}, "recall": {"mean": 0.5}, "repeats": [{"nfe": 40}]}' >run/results/fid-step_000000020-b2.json
job=$(CFM_SITE=$work/site.sh submit_training run 2 -- --steps=1000000 --val_data="$work/data/val" --val_every=20 --val_images=20)
within 60 is up $'n1 127.0.1.1 1\nn2 127.0.1.2 1'
within 30 is cfm_node_ranks $'n1 127.0.1.1 1\nn2 127.0.1.2 1'
within 60 at_least "count_over_time(cfm_steps_total[10m])" 30
all_answer() {  # WHICH: once | again: queries that need no second start, or those that do
  "$CFM_PYTHON" - "$CFM_SOURCE/metrics" "$1" <<'PYTHON'
import json, pathlib, re, sys, time
from asking import ask
metrics, which = pathlib.Path(sys.argv[1]), sys.argv[2]
queries = []
for board in sorted(metrics.glob("grafana/dashboards/*.json")):
    document = json.loads(board.read_text())
    for panel in document["panels"]:
        queries += [target["expr"] for target in panel.get("targets", [])]
    queries += [one["expr"] for one in document["annotations"].get("list") or []]
queries = [re.sub(r"\$(?!run\b)\w+", ".*", query.replace("$run", "run")) for query in queries]
recorded = re.findall(r"record: (\S+)", (metrics / "prometheus/recording.yml").read_text())
alarmed = sorted({name for expr in re.findall(r"expr: (.*)", (metrics / "prometheus/alerts.yml").read_text()) for name in re.findall(r"(?<![:\w])cfm_\w+", expr)})
assert len(queries) > 30 and len(recorded) >= 4 and len(alarmed) > 10
of_none = re.compile(r"cfm_evaluation_|cfm_gpu_")  # no evaluator, no GPU
waiting = [query for query in queries + recorded + alarmed if not of_none.search(query) and ("> 1" in query) == (which == "again")]
assert waiting
for _ in range(60):
    waiting = [query for query in waiting if not ask(query)]
    if not waiting:
        break
    time.sleep(0.5)
print("\n".join(waiting))
sys.exit(bool(waiting))
PYTHON
}
all_answer once || fail "panels, rules or what alerts name without data"

# ---- killed and restarted: the rates are those of the steps that were made ----
pkill -KILL -f "^[^ ]*cfm_train .*--run_dir=$work/run"  # all at once: none removes anything
within 30 grep -q "cfm_train ended with" run.log
within 10 no_target "$targets"
starts_again "$job" run.log 2
within 60 at_least "cfm_attempt" 2
within 60 is up $'n1 127.0.1.1 1\nn2 127.0.1.2 1'
within 90 at_least "count_over_time((cfm_steps_total and on (instance) cfm_attempt == 2)[1h:1s])" 30
all_answer again || fail "panels of requeues without data"
"$CFM_PYTHON" - run/events.jsonl <<'PYTHON' || fail "false rates"
import json, sys
from asking import value
events = [json.loads(line) for line in open(sys.argv[1]) if line.endswith("\n")]
made = max(event["step"] for event in events if event["event"] == "step" and event["attempt"] == 1)
begun = [event["step"] for event in events if event["event"] == "rewind_to"][0]
seen, step, ahead = (value(query) for query in ("sum(increase(cfm_steps_total[1h]))", "cfm_step", "cfm_step - cfm_steps_total"))
true = made + step - begun
print(f"first start to {made}, second from {begun} to {step:.0f}: Prometheus saw {seen:.0f} of {true:.0f} steps")
assert begun <= ahead <= begun + 1, f"a counter that did not begin at 0: it is {ahead} behind the step, which began at {begun}"
assert 0.7 < seen / true < 1.05  # not seen: what was made before its first look, and behind its last one at the first start
PYTHON
scancel "$job"
within 60 is up ""
no_target "$targets" || fail "the target of a cancelled job is left"

# ---- ranks that hang, of a job that is cancelled: they are killed, and so is the script that waits for them ----
job=$(CFM_SITE=$work/site.sh CFM_FAIL_AT=rename:step_:1:$work/never submit_training hanging 2 -- --steps=60)
within 60 is up $'n1 127.0.1.1 1\nn2 127.0.1.2 1'
within 60 step_reached hanging 12
scancel "$job"
within 60 state_is "$job" CANCELLED
within 60 no_rank hanging
says_not hanging.log "ended with"  # neither the ranks nor the script have lived to say so
no_target "$targets" || fail "the target of hanging ranks is left"

# ---- a loopback address is for its node alone; where scraping is barred, each node has a file ----
mkdir "$work/collector"
files_have() { [ "$(find "$work/collector" -name 'local@n[12]-*.prom' -exec grep -l "^cfm_node_ranks" {} + | wc -l)" = 2 ] && grep -q '^cfm_step{run="local"} [1-9]' "$work/collector"/local@n1-*.prom; }
job=$(XDG_CACHE_HOME=$work/cache submit_training local 2 -- --steps=1000000 --metrics=127.0.0.1:0 --metrics_textfile="$work/collector")
within 60 files_have
says local.log "Prometheus is not told, which may be on another node"
no_target "$work/cache" || fail "a loopback address among several nodes: $(find "$work/cache")"
scancel "$job"
within 60 grep -q "cfm_train ended with" local.log
[ -z "$(ls "$work/collector")" ] || fail "text files are left: $(ls "$work/collector")"
