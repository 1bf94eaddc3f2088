#!/bin/sh
# Installs agentsd for CI into the folder $1. Only from a commit or from a wheel with its hash: the steps that
# follow have secrets, so no name is looked up in a package index, where anyone may register it.
#
# Write the source here, between the quotes, where pull requests from forks find it, too (they see no CI
# variables), or set the CI variable AGENTSD_PACKAGE. One of
#   git+https://HOST/PATH@COMMIT                              the commit in full, 40 digits
#   https://HOST/agentsd-VERSION-py3-none-any.whl#sha256=HASH
pinned=''

set -eu
source=${AGENTSD_PACKAGE:-$pinned}
commit='^git\+(https|ssh|file)://[^[:space:]]+@([0-9a-f]{40}|[0-9a-f]{64})$'
wheel='^(https|file)://[^[:space:]]+\.whl#sha256=[0-9a-f]{64}$'
if [ -z "$source" ]; then
  echo "agentsd is not installed: write its source into $0, or set the CI variable AGENTSD_PACKAGE" >&2
  exit 1
fi
if ! printf '%s' "$source" | grep -Eq "$commit|$wheel"; then
  echo "agentsd is not installed: AGENTSD_PACKAGE must end in a whole commit (git+https://…@COMMIT) or a hash" \
    "(https://….whl#sha256=HASH)" >&2
  exit 1
fi

# What is installed must not see the secrets of the steps that follow.
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z_0-9]*\)=.*/\1/p'); do
  case $name in
    PIP_*) ;;
    SOPS_* | AGENTSD_* | VAULT_* | AWS_* | AZURE_* | GOOGLE_* | *TOKEN* | *SECRET* | *PASSWORD* | *KEY*) unset "$name" ;;
  esac
done
python3 -m venv "$1"
exec "$1/bin/pip" install --quiet --no-input --disable-pip-version-check "$source"
