#!/usr/bin/env bash
# Prepare a release: set the version, date the changelog, check everything, build, tag. Publishes nothing.
#   scripts/release.sh 0.2.0
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-}
python=${PYTHON:-.venv/bin/python}
if [[ ! $version =~ ^[0-9]+\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?$ ]]; then
    echo "usage: scripts/release.sh VERSION, such as 0.2.0 or 0.2.0rc1" >&2
    exit 2
fi
if [[ -n $(git status --porcelain) ]]; then
    echo "the work tree has changes: commit or stash them first" >&2
    exit 1
fi
if git rev-parse -q --verify "refs/tags/v$version" >/dev/null; then
    echo "the tag v$version exists" >&2
    exit 1
fi

sed -i "s/^__version__ = .*/__version__ = \"$version\"/" src/agentsd/__init__.py
sed -i "s/^## \[Unreleased\]$/## [Unreleased]\n\n## [$version] - $(date -u +%F)/" CHANGELOG.md
"$python" -m tests
rm -rf dist
"$python" -m build
git add src/agentsd/__init__.py CHANGELOG.md
git commit -m "release: $version"
git tag -a "v$version" -m "agentsd $version"
echo "built dist/ and tagged v$version; to publish, push the commit and the tag, and upload dist/"
