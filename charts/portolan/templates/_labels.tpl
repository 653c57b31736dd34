{{/* Labels. Every helper returns YAML; `portolan.mergeLabels` joins several, and the first one with a key wins. */}}

{{- define "portolan.mergeLabels" -}}
{{- $labels := dict -}}
{{- range . -}}
{{- $labels = merge $labels (deepCopy (. | default dict)) -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{- define "portolan.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ include "portolan.name" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "portolan.selectorLabels" -}}
app.kubernetes.io/name: {{ include "portolan.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portolan.controller.selectorLabels" -}}
{{ include "portolan.selectorLabels" . }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "portolan.controller.labels" -}}
{{- include "portolan.mergeLabels" (list (include "portolan.controller.selectorLabels" . | fromYaml) .Values.controller.labels (include "portolan.commonLabels" . | fromYaml)) -}}
{{- end -}}

{{- define "portolan.defaultBackend.selectorLabels" -}}
{{ include "portolan.selectorLabels" . }}
app.kubernetes.io/component: default-backend
{{- end -}}

{{- define "portolan.defaultBackend.labels" -}}
{{- include "portolan.mergeLabels" (list (include "portolan.defaultBackend.selectorLabels" . | fromYaml) .Values.defaultBackend.labels (include "portolan.commonLabels" . | fromYaml)) -}}
{{- end -}}

{{- define "portolan.controller.podLabels" -}}
{{- include "portolan.mergeLabels" (list (include "portolan.controller.selectorLabels" . | fromYaml) .Values.controller.podLabels .Values.controller.labels .Values.commonLabels) -}}
{{- end -}}

{{/* In combined mode, the DNS Pods are those of the controller. */}}
{{- define "portolan.dns.selectorLabels" -}}
{{- if include "portolan.isCombined" . -}}
{{ include "portolan.controller.selectorLabels" . }}
{{- else -}}
app.kubernetes.io/name: {{ default (include "portolan.name" .) .Values.dns.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: dns
{{- end }}
{{- if .Values.dns.isClusterService }}
k8s-app: {{ .Values.dns.k8sAppLabelOverride | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end -}}

{{- define "portolan.dns.podLabels" -}}
{{- $controller := dict -}}
{{- if include "portolan.isCombined" . -}}{{- $controller = include "portolan.controller.podLabels" . | fromYaml -}}{{- end -}}
{{- include "portolan.mergeLabels" (list $controller (.Values.dns.deployment.selector.matchLabels | default dict) (include "portolan.dns.selectorLabels" . | fromYaml) .Values.dns.podLabels .Values.dns.customLabels .Values.commonLabels) -}}
{{- end -}}

{{- define "portolan.dns.labels" -}}
{{- $cluster := dict -}}
{{- if .Values.dns.isClusterService -}}
{{- $cluster = dict "kubernetes.io/cluster-service" "true" "kubernetes.io/name" "CoreDNS" -}}
{{- end -}}
{{- $component := dict "app.kubernetes.io/component" "dns" -}}
{{- include "portolan.mergeLabels" (list $component (include "portolan.dns.selectorLabels" . | fromYaml) .Values.dns.customLabels $cluster (include "portolan.commonLabels" . | fromYaml)) -}}
{{- end -}}

{{/* A map whose values become strings, for annotations. */}}
{{- define "portolan.strings" -}}
{{- range $key, $value := . }}
{{ $key }}: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{/* The same; the values may be templates. Takes a list of the map and the root. */}}
{{- define "portolan.templatedStrings" -}}
{{- $root := index . 1 -}}
{{- range $key, $value := index . 0 }}
{{ $key }}: {{ tpl ($value | toString) $root | quote }}
{{- end }}
{{- end -}}
