{{/* An existing Service that is pointed at the Pods: `controller.service.adopt`. It outlives the release, as its address does. */}}

{{/* The Service to adopt as it is in the cluster; empty without one, and where nothing can be looked up. */}}
{{- define "portolan.controller.adoptedService" -}}
{{- with .Values.controller.service.adopt -}}
{{- with lookup "v1" "Service" (splitList "/" . | first) (splitList "/" . | last) -}}{{- toYaml . -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Its annotations, without those of the programs that write it. Takes a list: root, Service. */}}
{{- define "portolan.controller.adoptedAnnotations" -}}
{{- $root := index . 0 -}}
{{- range $key, $value := dig "metadata" "annotations" dict (index . 1) -}}
{{- $isOurs := has $key (list "helm.sh/resource-policy" "portolan.dev/selector-before" "kubectl.kubernetes.io/last-applied-configuration") -}}
{{- if not (or $isOurs (hasPrefix "meta.helm.sh/" $key) (hasKey $root.Values.controller.service.annotations $key)) }}
{{ $key }}: {{ $value | quote }}
{{- end -}}
{{- end }}
{{- with include "portolan.controller.selectorBefore" $root }}
portolan.dev/selector-before: {{ . | quote }}
{{- end }}
helm.sh/resource-policy: keep
{{- end -}}

{{/* The selector of the Pods. Helm merges a Service that it adopts with the existing one: labels of the old Pods have to be removed by name.
Takes a list: root, Service. */}}
{{- define "portolan.controller.adoptedSelector" -}}
{{- $selector := include "portolan.controller.selectorLabels" (index . 0) | fromYaml -}}
{{- toYaml $selector -}}
{{- range $key, $value := dig "spec" "selector" dict (index . 1) -}}
{{- if not (hasKey $selector $key) }}
{{ $key }}: null
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The selector of the adopted Service before its adoption, as JSON; empty where it is not known. */}}
{{- define "portolan.controller.selectorBefore" -}}
{{- $service := include "portolan.controller.adoptedService" . | fromYaml -}}
{{- $selector := dig "spec" "selector" dict $service -}}
{{- if ne (toJson $selector) (include "portolan.controller.selectorLabels" . | fromYaml | toJson) -}}
{{- with $selector -}}{{- toJson . -}}{{- end -}}
{{- else -}}
{{- dig "metadata" "annotations" "portolan.dev/selector-before" "" $service -}}
{{- end -}}
{{- end -}}

{{/* What is wrong with `controller.service.adopt`. */}}
{{- define "portolan.controller.adoptionMistakes" -}}
{{- $wanted := .Values.controller.service.adopt -}}
{{- $namespace := splitList "/" $wanted | first -}}
{{- $service := include "portolan.controller.adoptedService" . | fromYaml -}}
{{- $isConnected := lookup "v1" "Namespace" "" $namespace -}}
{{- if ne $namespace (include "portolan.namespace" .) }}
controller.service.adopt: {{ $wanted }} selects Pods of its own namespace only; install the release in {{ $namespace }}
{{- else if and $isConnected (not $service) }}
controller.service.adopt: there is no Service {{ $wanted }}
{{- else if $service }}
{{- $name := include "portolan.controller.fullname" . -}}
{{- $workload := lookup "apps/v1" .Values.controller.kind $namespace $name -}}
{{- $status := dig "status" dict $workload -}}
{{- $ours := include "portolan.controller.selectorLabels" . | fromYaml | toJson -}}
{{- if and (ne $ours (toJson $service.spec.selector)) (not (or $status.readyReplicas $status.numberReady)) }}
controller.service.adopt: no Pod of {{ .Values.controller.kind }} {{ $namespace }}/{{ $name }} is ready, and clients of {{ $wanted }} would find none. Install with controller.service.external.enabled=false and without this key first; adopt in an upgrade once Pods are ready. `portolan migrate ingress` does both, compares the answers and rolls back
{{- end }}
{{- end }}
{{- end -}}
