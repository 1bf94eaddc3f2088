#!/bin/sh
# Creates the random secrets that docker-compose.yml and deploy/kubernetes read; existing ones are kept.
#   sh deploy/secrets.sh [FOLDER [DATABASE_HOST]]
# The folder is closed to other users. Its files are not, since containers read them under their own user.
set -eu
folder=${1:-secrets} host=${2:-postgres}
umask 077 && mkdir -p "$folder" && umask 022

random() { od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'; }

for login in owner watch serve; do
    [ -s "$folder/$login.password" ] || random > "$folder/$login.password"
    printf 'AGENTSD_DATABASE_URL=postgresql://%s:%s@%s/agentsd\n' \
        "$login" "$(cat "$folder/$login.password")" "$host" > "$folder/$login.env"
done
[ -s "$folder/api_tokens" ] || random > "$folder/api_tokens"

# For Kubernetes: kubectl apply --namespace agentsd -k secrets
cat > "$folder/kustomization.yaml" << 'YAML'
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
secretGenerator:
  - {name: agentsd-age-key, files: [age_key]}
  - {name: agentsd-tokens, files: [api_tokens]}
  - {name: agentsd-owner, envs: [owner.env]}
  - {name: agentsd-watch, envs: [watch.env]}
  - {name: agentsd-serve, envs: [serve.env]}
  - {name: agentsd-passwords, files: [owner.password, watch.password, serve.password]}
generatorOptions:
  disableNameSuffixHash: true
YAML

[ -s "$folder/age_key" ] || echo "now put your age key there: install -m 644 KEYS.TXT $folder/age_key" >&2
