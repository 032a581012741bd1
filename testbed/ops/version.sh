#!/usr/bin/env bash
# The version of the images, kept as IMAGE_VERSION in the workflow.
#   version.sh tag          the tag of this commit's images: X.Y.Z on main, X.Y.Z-<branch>.dev.<sha> elsewhere
#   version.sh raised BASE  fails unless IMAGE_VERSION is higher than in the commit BASE
# Branch and commit come from GITHUB_REF, GITHUB_HEAD_REF and COMMIT, else from git.
set -euo pipefail
export LC_ALL=C

workflow=.github/workflows/app_code_cicd.yml

# The IMAGE_VERSION of the workflow on standard input; nothing when it has none.
image_version() {
    sed -n 's/^  IMAGE_VERSION: *["'\'']\{0,1\}\([^"'\'' ]*\)["'\'']\{0,1\} *$/\1/p'
}

check() {
    if [[ ! $1 =~ ^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$ ]]; then
        echo "$workflow: IMAGE_VERSION is '$1', not X.Y.Z" >&2
        return 1
    fi
}

# A branch as one identifier of a semantic version, at most $2 characters: letters, digits and hyphens.
identifier() {
    local name
    name=$(printf %s "$1" | tr -cs 'A-Za-z0-9' -)
    name=${name#-}
    # All digits may not begin with 0 there, and a name without one Latin letter or digit leaves nothing.
    case $name in
    '' | -) name=branch ;;
    *[!0-9]*) ;;
    *) name=branch-$name ;;
    esac
    name=${name:0:$2}
    echo "${name%-}"
}

tag() {
    local version commit branch fixed
    version=$(image_version <"$workflow")
    check "$version"
    : "${GITHUB_REF:=refs/heads/$(git branch --show-current)}"
    # Of a pull request GITHUB_REF is refs/pull/N/merge, so that a fork's branch main is no release.
    if [ "$GITHUB_REF" = refs/heads/main ]; then
        echo "$version"
        return
    fi
    commit=${COMMIT:-$(git rev-parse HEAD)}
    branch=${GITHUB_HEAD_REF:-${GITHUB_REF#refs/heads/}}
    fixed=$version-.dev.$commit
    # Docker allows 128 characters.
    echo "$version-$(identifier "$branch" $((128 - ${#fixed}))).dev.$commit"
}

raised() {
    local base=$1 now before i
    now=$(image_version <"$workflow")
    check "$now"
    git rev-parse --quiet --verify "$base^{commit}" >/dev/null || {
        echo "no commit $base: fetch it first" >&2
        return 1
    }
    before=$(git show "$base:$workflow" 2>/dev/null | image_version || true)
    if [ -z "$before" ]; then
        echo "$base has no IMAGE_VERSION: $now is the first"
        return
    fi
    local -a a b
    IFS=. read -ra a <<<"$now"
    IFS=. read -ra b <<<"$before"
    for i in 0 1 2; do
        if ((a[i] > b[i])); then
            echo "IMAGE_VERSION: $before -> $now"
            return
        fi
        if ((a[i] < b[i])); then break; fi
    done
    echo "$workflow: IMAGE_VERSION is $now and was $before: raise it" >&2
    return 1
}

case ${1-} in
tag) tag ;;
raised) raised "${2:?a commit}" ;;
*)
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
    ;;
esac
