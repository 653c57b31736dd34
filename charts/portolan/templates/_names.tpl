{{/* Names follow the helpers of the ingress-nginx chart, so that objects keep their names over a migration. */}}

{{/* Whether one process has both services. */}}
{{- define "portolan.isCombined" -}}
{{- if eq .Values.mode "combined" }}true{{ end -}}
{{- end -}}

{{- define "portolan.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "portolan.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "portolan.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "portolan.controller.fullname" -}}
{{- printf "%s-%s" (include "portolan.fullname" .) .Values.controller.name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The external Service of the controller: its own, or the one that it adopts. */}}
{{- define "portolan.controller.serviceName" -}}
{{- with .Values.controller.service.adopt -}}{{ splitList "/" . | last }}{{- else -}}{{ include "portolan.controller.fullname" . }}{{- end -}}
{{- end -}}

{{- define "portolan.defaultBackend.fullname" -}}
{{- printf "%s-%s" (include "portolan.fullname" .) .Values.defaultBackend.name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "portolan.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "portolan.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "portolan.defaultBackend.serviceAccountName" -}}
{{- if .Values.defaultBackend.serviceAccount.create -}}
{{- default (printf "%s-backend" (include "portolan.fullname" .)) .Values.defaultBackend.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.defaultBackend.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The namespace of the ConfigMap of --configmap. */}}
{{- define "portolan.configMapNamespace" -}}
{{- default (include "portolan.namespace" .) .Values.controller.configMapNamespace -}}
{{- end -}}

{{/* The name of the Lease of the leader. */}}
{{- define "portolan.electionID" -}}
{{- $more := .Values.controller.extraArgs -}}
{{- default (printf "%s-leader" (include "portolan.fullname" .)) (default .Values.controller.electionID (get $more "election-id")) -}}
{{- end -}}

{{/* The name of the webhook configuration, and of the Secret of its certificate. */}}
{{- define "portolan.admissionName" -}}
{{- printf "%s-admission" (include "portolan.fullname" . | trunc 53 | trimSuffix "-") -}}
{{- end -}}

{{/* namespace/name of the Service whose addresses are written to the status of Ingresses; empty for those of the Nodes, or fixed ones. */}}
{{- define "portolan.publishService" -}}
{{- $c := .Values.controller -}}
{{- $given := get $c.extraArgs "publish-service" -}}
{{- if $given -}}{{ $given }}
{{- else if and $c.publishService.enabled (not (hasKey $c.extraArgs "publish-status-address")) -}}
{{- $namespace := "$(POD_NAMESPACE)" -}}
{{- if $c.publishService.pathOverride -}}{{ tpl $c.publishService.pathOverride . }}
{{- else if and $c.service.enabled $c.service.external.enabled -}}{{ $namespace }}/{{ include "portolan.controller.serviceName" . }}
{{- else if and $c.service.enabled $c.service.internal.enabled -}}{{ $namespace }}/{{ include "portolan.controller.fullname" . }}-internal
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The namespace that is watched with `controller.scope.enabled`. */}}
{{- define "portolan.scopeNamespace" -}}
{{- default (include "portolan.namespace" .) .Values.controller.scope.namespace -}}
{{- end -}}

{{- define "portolan.dns.fullname" -}}
{{- $name := .Values.dns.fullnameOverride -}}
{{- default (printf "%s-dns" (trunc 59 .Release.Name | trimSuffix "-")) $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "portolan.dns.namespace" -}}
{{- default .Release.Namespace .Values.dns.namespaceOverride -}}
{{- end -}}

{{- define "portolan.dns.workloadName" -}}
{{- if include "portolan.isCombined" . -}}{{ include "portolan.controller.fullname" . }}{{- else -}}
{{- default (include "portolan.dns.fullname" .) .Values.dns.deployment.name -}}
{{- end -}}
{{- end -}}

{{- define "portolan.dns.serviceName" -}}
{{- default (include "portolan.dns.fullname" .) .Values.dns.service.name -}}
{{- end -}}

{{- define "portolan.dns.serviceAccountName" -}}
{{- if include "portolan.isCombined" . -}}
{{- include "portolan.serviceAccountName" . -}}
{{- else if .Values.dns.serviceAccount.create -}}
{{- default (include "portolan.dns.fullname" .) .Values.dns.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.dns.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "portolan.dns.clusterRoleName" -}}
{{- default (include "portolan.dns.fullname" .) .Values.dns.clusterRole.nameOverride -}}
{{- end -}}
