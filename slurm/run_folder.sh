# shellcheck shell=bash
# Sourced by `submit` and by the batch scripts: what flags and a run's folder say.

flag_value() {  # NAME FLAGS...: the value of --NAME=VALUE, there or in a flagfile that is named; nothing if it is not set
  local found=""
  find_flag "$1" . "${@:2}" || true
  echo "$found"
}

# NAME FOLDER FLAGS...: `found`, if the flags set NAME. As base/command_line.h reads them: flags win over the flagfiles named beside them,
# of these the later one; flagfiles are relative to FOLDER, that of the file that names them.
find_flag() {
  local name=$1 folder=$2 flag file words set=1
  shift 2
  for flag in "$@"; do
    case $flag in --"$name"=*) found=${flag#*=} set=0 ;; esac
  done
  [ $set != 0 ] || return 0
  [ ${#FUNCNAME[@]} -lt 50 ] || return 1  # a file nests itself: the program says so
  for flag in "$@"; do
    case $flag in --flagfile=*) file=${flag#*=} ;; *) continue ;; esac
    [[ $file == /* ]] || file=$folder/$file
    [ -f "$file" ] && [ -r "$file" ] || continue  # the program says so, or sees it in its container
    mapfile -t words < <(flags_of_file "$file")
    ! find_flag "$name" "$(dirname "$file")" "${words[@]}" || set=0
  done
  return $set
}
flags_of_file() { sed -e $'1s/^\xef\xbb\xbf//' -e 's/\(^\|[[:space:]]\)#.*//; s/^[[:space:]]*//; s/[[:space:]]*$//' "$1"; }

line_of_list() {  # FILE K: its line K, empty ones and comments not counted; nothing if it has fewer
  grep -vE '^[[:space:]]*(#|$)' "$1" | sed -n "$2p"
}
lines_of_list() { grep -cvE '^[[:space:]]*(#|$)' "$1"; }

newest_checkpoint() {  # RUN: the step of its newest committed checkpoint, in nine digits or more; nothing if it has none
  local folder step newest=""
  for folder in "$1"/checkpoints/step_*; do
    step=${folder##*/step_}
    case $step in *[!0-9]*) continue ;; esac  # .tmp, .damaged
    [ ! -e "$folder/manifest.json" ] || [ "$((10#$step))" -lt "$((10#${newest:-0}))" ] || newest=$step
  done
  echo "$newest"
}

run_is_complete() {  # RUN: whether its newest checkpoint is of the last step that it was to make
  local newest steps
  newest=$(newest_checkpoint "$1")
  [ -n "$newest" ] || return 1
  steps=$(sed -n '/^ "flags": {/,/^ }/s/^ *"steps": "\([0-9]*\)",*$/\1/p' "$1/checkpoints/step_$newest/manifest.json")
  [ -n "$steps" ] && [ "$((10#$newest))" -ge "$steps" ]
}

# RUN: the seconds from a signal to the end that RUN needs, by the longest of its last saves and steps: a signal is met behind the
# next step, and a save that is under way ends before the last one begins. Twice both, and 5 s to end. Nothing if none is measured.
seconds_to_stop() {
  [ -e "$1/events.jsonl" ] || return 0
  { grep '"event":"checkpoint"' "$1/events.jsonl" | tail -n 20; tail -n 5000 "$1/events.jsonl" | grep '"event":"step"'; } | awk '
    function number(name) { return match($0, "\"" name "\":[-+.0-9e]+") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0 : 0 }
    /"event":"checkpoint"/ { saves++; if (number("seconds") > save) save = number("seconds") }
    /"event":"step"/ { if (number("step_seconds") > step) step = number("step_seconds") }
    END { if (saves) printf "%d %.1f %.1f\n", 2 * save + 2 * step + 5.999, save, step }'
}
