#!/bin/sh
# One worktree and one branch for each task, so that agents who share a clone never share a working tree.
# It needs git and a POSIX shell. Profile sync copies it into every workspace; it also works from here.
#
#   ROOT/NAME/main       the clone, made once by an operator; the script only fetches and creates worktrees in it
#   ROOT/NAME/task-ID    a task's worktree, on the branch task/ID
set -eu

# The script compares messages, and its ranges of letters are meant as in ASCII.
LC_ALL=C
GIT_TERMINAL_PROMPT=0
GIT_OPTIONAL_LOCKS=0
export LC_ALL GIT_TERMINAL_PROMPT GIT_OPTIONAL_LOCKS
# A hook or another git may have set these; git would then use another repository.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_NAMESPACE GIT_PREFIX CDPATH

usage() {
  cat <<'USAGE'
sh worktree.sh create TASK [--repo NAME] [--base BRANCH]
sh worktree.sh list [--repo NAME]
sh worktree.sh remove TASK [--repo NAME] [--force]

create   creates the task's worktree and branch from the newest state of the base, or shows the existing one
list     prints a line for each worktree: task, branch, clean or changed, folder
remove   removes a worktree, with changes only if --force is given; commits that origin does not have stay on the branch

TASK is the task's id; remove also accepts the worktree's folder. --repo is needed if there are several repositories.
--base is a branch of origin, by default origin's default branch. WORKTREE_ROOT is the folder with the
repositories, by default .repositories next to the workspaces.
USAGE
}

fail() {
  printf 'worktree: %s\n' "$*" >&2
  exit 1
}

misused() {
  printf 'worktree: %s\n\n' "$*" >&2
  usage >&2
  exit 64
}

is_id() {
  case $1 in
    '' | [!A-Za-z0-9]* | *[!A-Za-z0-9_-]*) return 1 ;;
  esac
  [ "${#1}" -le 64 ]
}

is_name() {
  case $1 in
    '' | [!A-Za-z0-9]* | *[!A-Za-z0-9._-]*) return 1 ;;
  esac
  [ "${#1}" -le 100 ]
}

# Not every sleep knows parts of seconds.
moment() { sleep 0.2 2>/dev/null || sleep 1; }

# Whether that many seconds have passed since the given moment.
is_over() { [ $(($(date +%s) - $1)) -ge "$2" ]; }

# Another git in the same clone holds locks for moments. Only failures because of a lock are retried.
patiently() {
  since=$(date +%s)
  while :; do
    if said=$("$@" 2>&1); then return 0; fi
    case $said in
      *".lock'"*"File exists"* | *"cannot lock ref"* | *"could not lock"* | *"unable to lock"*) ;;
      *) break ;;
    esac
    if is_over "$since" 10; then break; fi
    moment
  done
  printf '%s\n' "$said" >&2
  return 1
}

main_git() { git -C "$clone" "$@"; }

# --- the lock: a ref, because git updates refs atomically ---------------------------------

lock_ref=refs/worktree-script/lock
mine=

unlock() {
  if [ -n "$mine" ]; then
    git -C "$clone" update-ref -d "$lock_ref" "$mine" 2>/dev/null || :
    mine=
  fi
}

# A holder that was killed leaves its lock, which is taken over if its process has ended, or after an hour.
is_abandoned() {
  set -- $(main_git cat-file blob "$1" 2>/dev/null || :)
  [ "$#" -eq 3 ] || return 1
  if [ "$2" = "$(uname -n)" ] && ! kill -0 "$1" 2>/dev/null; then return 0; fi
  [ $(($(date +%s) - $3)) -gt 3600 ]
}

lock() {
  token=$(printf '%s %s %s\n' "$$" "$(uname -n)" "$(date +%s)" | main_git hash-object -w --stdin)
  trap unlock EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  asked=$(date +%s)
  while :; do
    held=$(main_git rev-parse --verify --quiet "$lock_ref" || :)
    if [ -z "$held" ] || is_abandoned "$held"; then
      if main_git update-ref "$lock_ref" "$token" "$held" 2>/dev/null; then
        mine=$token
        return 0
      fi
    fi
    if is_over "$asked" "${WORKTREE_WAIT:-120}"; then
      fail "another worktree command has held $clone for ${WORKTREE_WAIT:-120} s; if none is running, run: git -C '$clone' update-ref -d $lock_ref"
    fi
    moment
  done
}

# --- folders ----------------------------------------------------------------------------------------------

find_root() {
  wanted=${WORKTREE_ROOT:-$(dirname -- "$0")/../.repositories}
  [ -d "$wanted" ] ||
    fail "the folder $wanted does not exist; ask an operator to create it: git clone <address> '$wanted/<name>/main'"
  root=$(cd -P -- "$wanted" && pwd -P)
}

is_repository() {
  for part in "$root/$1" "$root/$1/main" "$root/$1/main/.git"; do
    if [ -L "$part" ] || [ ! -d "$part" ]; then return 1; fi
  done
}

find_repository() {
  if [ -z "$repo" ]; then
    count=0
    for folder in "$root"/*/; do
      name=$(basename -- "$folder")
      if is_name "$name" && is_repository "$name"; then
        count=$((count + 1))
        repo=$name
      fi
    done
    [ "$count" -ne 0 ] || fail "there is no repository in $root; ask an operator to create one: git clone <address> '$root/<name>/main'"
    [ "$count" -eq 1 ] || fail "there are $count repositories in $root: choose one with --repo"
  else
    is_name "$repo" || misused "$repo is not a valid repository name"
    is_repository "$repo" || fail "there is no repository $repo in $root: it needs a folder main with a clone, not a symbolic link"
  fi
  clone=$root/$repo/main
}

# The folder of a task. A symbolic link could lead out of the root.
find_place() {
  place=$root/$repo/task-$task
  branch=task/$task
  [ ! -L "$place" ] || fail "$place is a symbolic link, which the script does not use"
}

# Git's description of a worktree: its lines up to the empty one.
record() {
  main_git worktree list --porcelain |
    WANTED="worktree $1" awk '$0 == ENVIRON["WANTED"] { on = 1 } $0 == "" { on = 0 } on'
}

default_base() {
  head=$(main_git symbolic-ref --quiet --short refs/remotes/origin/HEAD || :)
  if [ -n "$head" ]; then
    printf '%s\n' "${head#origin/}"
    return 0
  fi
  for name in main master; do
    if main_git rev-parse --verify --quiet "refs/remotes/origin/$name" >/dev/null; then
      printf '%s\n' "$name"
      return 0
    fi
  done
  return 1
}

has_ref() { main_git rev-parse --verify --quiet "$1" >/dev/null; }

# --- the commands --------------------------------------------------------------------------------------------------

create() {
  find_place
  lock
  known=$(record "$place")
  case $known in
    *'locked initializing'*)
      # A create that was killed left it incomplete. No one has worked in it.
      patiently main_git worktree remove --force --force "$place" || exit 1
      known=
      ;;
  esac
  if [ -n "$known" ] && [ -e "$place/.git" ]; then
    on=$(git -C "$place" symbolic-ref --quiet --short HEAD || printf 'no branch')
    printf 'worktree: %s\nbranch: %s\n' "$place" "$on"
    printf 'It already exists. If another agent works on this task too, agree in the thread who commits.\n'
    [ "$on" = "$branch" ] || printf 'worktree: its branch should be %s\n' "$branch" >&2
    return 0
  fi
  if [ -e "$place" ]; then fail "$place exists and is not a worktree of $repo: remove it or rename it first"; fi
  patiently main_git fetch --quiet --prune origin || fail "origin could not be fetched, so nothing was created"
  patiently main_git worktree prune || exit 1
  if [ -z "$base" ]; then
    base=$(default_base) || fail "origin has no default branch: choose a branch with --base"
  fi
  has_ref "refs/remotes/origin/$base" || fail "origin has no branch $base"
  if has_ref "refs/heads/$branch"; then
    from='its branch as it was'
    patiently main_git worktree add --quiet "$place" "$branch" || exit 1
  elif has_ref "refs/remotes/origin/$branch"; then
    from="origin/$branch"
    patiently main_git worktree add --quiet --no-track -b "$branch" "$place" "origin/$branch" || exit 1
  else
    from="origin/$base"
    patiently main_git worktree add --quiet --no-track -b "$branch" "$place" "origin/$base" || exit 1
  fi
  printf 'worktree: %s\nbranch: %s\nfrom: %s\n' "$place" "$branch" "$from"
  printf 'Work and commit only in this folder. To hand it over: git push --set-upstream origin %s\n' "$branch"
  printf 'Then open a pull request from %s into %s, with the task in its description, and give its number in your reply.\n' \
    "$branch" "$base"
}

list() {
  main_git worktree list --porcelain | sed -n 's/^worktree //p' | while IFS= read -r folder; do
    case $folder in
      "$root/$repo/task-"*) ;;
      *) continue ;;
    esac
    if [ ! -e "$folder/.git" ]; then
      printf '%s\t-\tmissing\t%s\n' "${folder##*/task-}" "$folder"
      continue
    fi
    state=clean
    [ -z "$(git -C "$folder" status --porcelain | head -n 1)" ] || state=changed
    on=$(git -C "$folder" symbolic-ref --quiet --short HEAD || printf -- '-')
    printf '%s\t%s\t%s\t%s\n' "${folder##*/task-}" "$on" "$state" "$folder"
  done
}

remove() {
  find_place
  lock
  known=$(record "$place")
  if [ -z "$known" ]; then
    if [ -e "$place" ]; then fail "$place exists and is not a worktree of $repo: remove it or rename it first"; fi
    fail "task $task has no worktree in $repo"
  fi
  if [ ! -e "$place/.git" ]; then
    patiently main_git worktree prune || exit 1
  else
    case "$(pwd -P)/" in
      "$place/"*) fail "you are in $place: change to another folder first" ;;
    esac
    if [ -z "$force" ]; then
      changes=$(git -C "$place" status --porcelain | head -n 5)
      [ -z "$changes" ] || fail "$place has changes; commit and push them, or discard them with --force:
$changes"
      loose=$(git -C "$place" rev-list --max-count=1 HEAD --not --branches --remotes)
      [ -z "$loose" ] || fail "$place has commits that are on no branch, such as $loose; put them on a branch, or discard them with --force"
      index_lock=$(git -C "$place" rev-parse --absolute-git-dir)/index.lock
      since=$(date +%s)
      while [ -e "$index_lock" ]; do
        if is_over "$since" 5; then fail "a git command is running in $place (index.lock); try again later, or use --force"; fi
        moment
      done
      patiently main_git worktree remove "$place" || exit 1
    else
      patiently main_git worktree remove --force --force "$place" || exit 1
    fi
  fi
  printf 'removed: %s\n' "$place"
  has_ref "refs/heads/$branch" || return 0
  kept=$(main_git rev-list --count "refs/heads/$branch" --not --remotes=origin)
  if [ "$kept" -eq 0 ]; then
    patiently main_git branch --quiet -D "$branch" || exit 1
    printf 'branch removed: %s (origin has its commits)\n' "$branch"
  else
    printf 'branch kept: %s (commits that origin does not have: %s)\n' "$branch" "$kept"
  fi
}

command=${1:-}
[ "$#" -eq 0 ] || shift
case $command in
  create | list | remove) ;;
  '' | help | -h | --help)
    usage
    exit 0
    ;;
  *) misused "unknown command $command" ;;
esac

task=
repo=
base=
force=
while [ "$#" -gt 0 ]; do
  case $1 in
    --repo | --base)
      [ "$#" -ge 2 ] || misused "$1 needs a value"
      if [ "$1" = --repo ]; then repo=$2; else base=$2; fi
      shift
      ;;
    --force) force=yes ;;
    -*) misused "unknown option $1" ;;
    *)
      [ -z "$task" ] || misused "give one task only"
      [ -n "$1" ] || misused "the task's id is empty"
      task=$1
      ;;
  esac
  shift
done

command -v git >/dev/null 2>&1 || fail "git is not installed"
if [ "$command" = list ]; then
  [ -z "$task" ] || misused "list accepts no task"
else
  [ -n "$task" ] || misused "$command needs the task's id"
fi
[ -z "$force" ] || [ "$command" = remove ] || misused "--force is an option of remove only"
if [ -n "$base" ]; then
  [ "$command" = create ] || misused "--base is an option of create only"
  case $base in -*) misused "$base is not a valid branch name" ;; esac
  git check-ref-format "refs/heads/$base" || misused "$base is not a valid branch name"
fi

find_root
if [ "$command" = remove ]; then
  # A folder directly under a repository of the root names its task.
  case $task in
    */*)
      folder=$(cd -P -- "$task" 2>/dev/null && pwd -P) || fail "the folder $task does not exist"
      case $folder in
        "$root"/*/task-*) ;;
        *) fail "$task is not a worktree in $root" ;;
      esac
      inside=${folder#"$root"/}
      [ -z "$repo" ] || [ "$repo" = "${inside%%/*}" ] || fail "$task is not in $repo"
      repo=${inside%%/*}
      task=${inside#*/task-}
      ;;
  esac
fi
if [ "$command" != list ]; then
  is_id "$task" || misused "$task is not a task id: letters, digits, - and _, at most 64"
fi
find_repository
"$command"
