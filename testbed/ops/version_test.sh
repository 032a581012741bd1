#!/usr/bin/env bash
# Tests of version.sh, in a repository made for them.
set -euo pipefail
script=$(cd "$(dirname "$0")" && pwd)/version.sh
workflow=.github/workflows/app_code_cicd.yml
sha=0123456789abcdef0123456789abcdef01234567

repository=$(mktemp -d)
trap 'rm -rf "$repository"' EXIT
cd "$repository"
unset GITHUB_REF GITHUB_HEAD_REF COMMIT
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
git init --quiet --initial-branch=main
git config user.name test
git config user.email test@example.invalid

commit() { # VERSION: commits a workflow with it
    mkdir -p "$(dirname $workflow)"
    printf 'name: test\nenv:\n  IMAGE_VERSION: %s\njobs: {}\n' "$1" >$workflow
    git add .
    git commit --quiet --allow-empty --message "version $1"
}

failures=0
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    failures=$((failures + 1))
}

tag_is() { # EXPECTED REF [HEAD_REF]
    local got
    got=$(GITHUB_REF=$2 GITHUB_HEAD_REF=${3-} COMMIT=$sha "$script" tag) || got="exit $?"
    [ "$got" = "$1" ] || fail "tag of $2 ${3-}: $got, not $1"
    # As Docker, Kubernetes (a label's characters) and semantic versions want it.
    [[ $got =~ ^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$ && $got =~ [A-Za-z0-9]$ ]] || fail "not a tag: $got"
    [[ $got =~ ^[0-9]+\.[0-9]+\.[0-9]+(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)\.dev\.[0-9a-f]{40})?$ ]] ||
        fail "not a semantic version: $got"
}

refused() { # MESSAGE COMMAND…
    local message=$1 output
    shift
    if output=$("$@" 2>&1); then
        fail "$* should fail, but said: $output"
    elif [[ $output != *"$message"* ]]; then
        fail "$*: '$output' has no '$message'"
    fi
}

letters=$(printf 'x%.0s' {1..200})
digits=$(printf '7%.0s' {1..200})

commit 1.2.3
tag_is 1.2.3 refs/heads/main
tag_is 1.2.3-feature-x.dev.$sha refs/heads/feature-x
tag_is 1.2.3-feature-x-y.dev.$sha refs/heads/feature/x_y
tag_is 1.2.3-feature-main.dev.$sha refs/heads/feature/main
tag_is 1.2.3-branch-007.dev.$sha refs/heads/007
tag_is 1.2.3-7-up.dev.$sha refs/heads/7-up
tag_is 1.2.3-release-1-0.dev.$sha refs/heads/release/1.0
tag_is 1.2.3-a-b.dev.$sha 'refs/heads/--a..b__'
tag_is 1.2.3-caf-cr-me.dev.$sha refs/heads/café-crème
tag_is 1.2.3-branch.dev.$sha refs/heads/日本語
tag_is 1.2.3-branch.dev.$sha refs/heads/---
tag_is "1.2.3-${letters:0:77}.dev.$sha" "refs/heads/$letters"
tag_is "1.2.3-branch-${digits:0:70}.dev.$sha" "refs/heads/$digits"
tag_is "1.2.3-${letters:0:76}.dev.$sha" "refs/heads/${letters:0:76}/y"
# Of a pull request: the head's branch, and never a release.
tag_is 1.2.3-fix.dev.$sha refs/pull/5/merge fix
tag_is 1.2.3-main.dev.$sha refs/pull/5/merge main

# Without GitHub's variables, from git.
[ "$("$script" tag)" = 1.2.3 ] || fail 'tag on the branch main'
git switch --quiet --create topic
[ "$("$script" tag)" = "1.2.3-topic.dev.$(git rev-parse HEAD)" ] || fail 'tag on the branch topic'

# The same version, a lower one and none at all are refused.
refused 'IMAGE_VERSION is 1.2.3 and was 1.2.3' "$script" raised main
commit 1.2.2
refused 'raise it' "$script" raised main
commit 0.9.9
refused 'raise it' "$script" raised main
for bad in 1.2 1.2.3.4 1.02.3 v1.2.4 1.2.4-rc1 ''; do
    commit "$bad"
    refused 'not X.Y.Z' "$script" raised main
    refused 'not X.Y.Z' "$script" tag
done
# 1.10 is above 1.9, which text would deny.
for good in 1.2.4 1.10.0 2.0.0 1.2.10 '"1.3.0"'; do
    commit "$good"
    "$script" raised main >/dev/null || fail "raised to $good"
done
refused 'no commit' "$script" raised nowhere

git switch --quiet --orphan before
git commit --quiet --allow-empty --message 'without a workflow'
git switch --quiet topic
"$script" raised before >/dev/null || fail 'the first version'

if [ $failures -gt 0 ]; then exit 1; fi
echo 'version.sh: all cases hold'
