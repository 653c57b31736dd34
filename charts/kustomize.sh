#!/usr/bin/env bash
# Writes the kustomize bases in config/kustomize: what the chart makes with its default values, one base for DNS and one for ingress.
#
#   charts/kustomize.sh [FOLDER]    FOLDER is config/kustomize by default; HELM names the helm binary
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-config/kustomize}
helm=${HELM:-helm}

# The manifests of a part of the chart, in one file, without the labels that only Helm needs.
render() {
    local namespace=$1
    shift
    "$helm" template portolan charts/portolan --namespace "$namespace" --kube-version 1.35.0 --skip-tests "$@" |
        sed -E '/^# Source: /d; /^ +(helm.sh\/chart|app.kubernetes.io\/managed-by): /d'
}

# Splits manifests into rbac.yaml (accounts and permissions) and objects.yaml.
base() {
    local folder=$1 comment=$2
    mkdir -p "$folder"
    awk -v rbac="$folder/rbac.yaml" -v objects="$folder/objects.yaml" '
        BEGIN { printf "" >rbac; printf "" >objects }
        function flush() {
            if (document ~ /[^[:space:]]/) {
                file = document ~ /\nkind: (ServiceAccount|(Cluster)?Role(Binding)?)\n/ ? rbac : objects
                printf "---\n%s", document >>file
            }
            document = ""
        }
        /^---$/ { flush(); next }
        { document = document $0 "\n" }
        END { flush() }'
    printf '# %s\n# Made by charts/kustomize.sh from the chart; do not edit.\n' "$comment" >"$folder/kustomization.yaml"
    printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - rbac.yaml\n  - objects.yaml\n' >>"$folder/kustomization.yaml"
}

render kube-system --set controller.enabled=false --set dns.enabled=true |
    base "$out/dns" "DNS in kube-system, as the Service kube-dns. Where there is a Service kube-dns, docs/install.md says how to apply and revert this."
render portolan |
    base "$out/ingress" "The ingress controller in the namespace portolan (make it first), with the IngressClass nginx."
