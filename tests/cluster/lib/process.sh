# shellcheck shell=bash
# Starting, watching and stopping the cluster's processes.

# How many seconds anything may take, on a machine that is slow and busy: what hangs is to fail, and nothing else.
LIMIT=300

# A process is known by its id and its start time, so that an id that was given to another is not mistaken for it.
start_time() { sed -n 's/.*) //p' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

alive() {
  local pid time
  read -r pid time 2>/dev/null <"$RUN/$1.pid" && [ -n "$time" ] && [ "$(start_time "$pid")" = "$time" ] &&
    ! grep -qs '^State:.Z' "/proc/$pid/status"
}

# start COMPONENT COMMAND...: unless it runs already, and from this very executable
start() {
  local name=$1 pid _
  shift
  if alive "$name"; then
    read -r pid _ <"$RUN/$name.pid"
    [ "/proc/$pid/exe" -ef "$(command -v "$1")" ] && return
    say "$name runs from an older binary: starting it anew"
    stop "$name"
  fi
  setsid "$@" >>"$LOGS/$name.log" 2>&1 </dev/null {LOCK}>&- &
  pid=$!
  echo "$pid $(start_time "$pid")" >"$RUN/$name.pid"
}

stop() {
  local name=$1 pid _ signal
  for signal in TERM KILL; do
    alive "$name" || break
    read -r pid _ <"$RUN/$name.pid"
    kill "-$signal" "$pid" 2>/dev/null || true
    for _ in {1..150}; do
      alive "$name" || break 2
      sleep .1
    done
    say "$name does not end on SIG$signal"
  done
  rm -f "$RUN/$name.pid"
}

# wait_for WHAT COMPONENT COMMAND...: until the command succeeds; fails at once when the component ends
wait_for() {
  local what=$1 component=$2 began=$SECONDS waited next=10
  shift 2
  until "$@" >/dev/null 2>&1; do
    waited=$((SECONDS - began))
    alive "$component" || fail_with_log "$component ended" "$component"
    ((waited < LIMIT)) || fail_with_log "$what is not there after $LIMIT s" "$component"
    if ((waited >= next)); then
      say "waiting for $what ($waited s)"
      next=$((next + 10))
    fi
    sleep .1
  done
}

fail_with_log() {
  say "--- the end of $LOGS/$2.log"
  tail -n 20 "$LOGS/$2.log" >&2
  fail "$1; its log is above"
}

# with_progress WHAT LOG COMMAND...: all output to the log, a line with the elapsed time every 15 seconds
with_progress() {
  local what=$1 log=$2 began=$SECONDS code=0 ticker
  shift 2
  : >"$log"
  tell_progress "$what" "$log" "$began" &
  ticker=$!
  "$@" >"$log" 2>&1 || code=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  return "$code"
}

tell_progress() {
  local what=$1 log=$2 began=$3 never seconds
  exec {never}<> <(:) # waiting on a pipe that nobody writes to: a `sleep` would outlive this function
  while kill -0 $$ 2>/dev/null; do
    read -r -t 15 -u "$never" || true
    seconds=$((SECONDS - began))
    say "$what: $((seconds / 60)) min $((seconds % 60)) s, $(wc -l <"$log") packages, now at $(tail -n 1 "$log" | cut -c 1-60)"
  done
}

status() {
  local name
  for name in etcd apiserver controller-manager scheduler containerd kubelet kwok; do
    if alive "$name"; then printf '%-20s running, pid %s\n' "$name" "$(cut -d ' ' -f 1 "$RUN/$name.pid")"; else
      printf '%-20s not running\n' "$name"
    fi
  done
  if alive apiserver; then kubectl_admin get nodes; fi
}
