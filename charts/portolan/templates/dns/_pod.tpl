{{- define "portolan.dns.podSecurityContext" -}}
{{- $d := .Values.dns -}}
{{- $context := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- /* A non-root process may open port 53 by this sysctl, also where the image has lost its file capability (a copy without extended attributes). */ -}}
{{- if and (include "portolan.dns.lowPorts" .) (not $d.hostNetwork) -}}
{{- $_ := set $context "sysctls" (list (dict "name" "net.ipv4.ip_unprivileged_port_start" "value" "0")) -}}
{{- end -}}
{{- toYaml (merge (deepCopy $d.podSecurityContext) $context) -}}
{{- end -}}

{{/* Takes a list: settings, path, port. */}}
{{- define "portolan.dns.probe" -}}
{{- $settings := omit (index . 0) "enabled" -}}
httpGet:
  path: {{ index . 1 }}
  port: {{ index . 2 }}
  scheme: HTTP
{{ toYaml $settings }}
{{- end -}}

{{/* Whether the Corefile imports the files of k3s's ConfigMap coredns-custom. */}}
{{- define "portolan.dns.importsCustom" -}}
{{- if and .Values.dns.customConfigMap (or (not (include "portolan.dns.makesConfigMap" .)) (contains "/etc/coredns/custom" (include "portolan.dns.corefile" .))) }}true{{ end -}}
{{- end -}}

{{- define "portolan.dns.podTemplate" -}}
{{- $d := .Values.dns -}}
metadata:
  {{- with merge (dict) $d.podAnnotations $d.customAnnotations }}
  annotations: {{- include "portolan.strings" . | nindent 4 }}
  {{- end }}
  labels: {{- include "portolan.dns.podLabels" . | nindent 4 }}
spec:
  serviceAccountName: {{ include "portolan.dns.serviceAccountName" . }}
  automountServiceAccountToken: {{ $d.automountServiceAccountToken }}
  terminationGracePeriodSeconds: {{ $d.terminationGracePeriodSeconds }}
  {{- if $d.isClusterService }}
  dnsPolicy: {{ $d.deployment.dnsPolicy }}
  {{- end }}
  {{- with $d.deployment.dnsConfig }}
  dnsConfig: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $d.hostNetwork }}
  hostNetwork: true
  {{- end }}
  {{- with concat $d.image.pullSecrets .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $d.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext: {{- include "portolan.dns.podSecurityContext" . | nindent 4 }}
  {{- with $d.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $d.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $d.affinity }}
  affinity: {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
  {{- if kindIs "invalid" $d.topologySpreadConstraints }}
  {{- if eq $d.kind "Deployment" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "portolan.dns.selectorLabels" . | nindent 10 }}
  {{- end }}
  {{- else if $d.topologySpreadConstraints }}
  topologySpreadConstraints: {{- tpl (toYaml $d.topologySpreadConstraints) $ | nindent 4 }}
  {{- end }}
  {{- with $d.initContainers }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: dns
      image: {{ include "portolan.dns.image" . }}
      imagePullPolicy: {{ default .Values.image.pullPolicy $d.image.pullPolicy }}
      args:
        - -conf
        - /etc/coredns/Corefile
        {{- if not $d.prometheus.legacyNames }}
        - -legacy-metrics=false
        {{- end }}
        {{- with $d.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $d.env }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports: {{- include "portolan.dns.containerPorts" . | nindent 8 }}
      {{- $health := include "portolan.dns.pluginPort" (list . "health" "8080") | default "8080" }}
      {{- $ready := include "portolan.dns.pluginPort" (list . "ready" "8181") | default "8181" }}
      {{- if $d.startupProbe.enabled }}
      startupProbe: {{- include "portolan.dns.probe" (list $d.startupProbe "/health" $health) | nindent 8 }}
      {{- end }}
      {{- if $d.livenessProbe.enabled }}
      livenessProbe: {{- include "portolan.dns.probe" (list $d.livenessProbe "/health" $health) | nindent 8 }}
      {{- end }}
      {{- if $d.readinessProbe.enabled }}
      readinessProbe: {{- include "portolan.dns.probe" (list $d.readinessProbe "/ready" $ready) | nindent 8 }}
      {{- end }}
      {{- with $d.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- toYaml $d.securityContext | nindent 8 }}
      volumeMounts: {{- include "portolan.dns.volumeMounts" . | nindent 8 }}
    {{- with $d.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes: {{- include "portolan.dns.volumes" . | nindent 4 }}
{{- end -}}


{{- define "portolan.dns.volumeMounts" -}}
{{- $d := .Values.dns -}}
- name: config-volume
  mountPath: /etc/coredns
  readOnly: true
{{- if include "portolan.dns.importsCustom" . }}
- name: custom-config-volume
  mountPath: /etc/coredns/custom
  readOnly: true
{{- end }}
{{- range $d.extraSecrets }}
- name: {{ .name }}
  mountPath: {{ .mountPath }}
  readOnly: true
{{- end }}
{{- with $d.extraVolumeMounts }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- define "portolan.dns.volumes" -}}
{{- $d := .Values.dns -}}
- name: config-volume
  configMap:
    name: {{ include "portolan.dns.configMapName" . }}
{{- if include "portolan.dns.importsCustom" . }}
- name: custom-config-volume
  configMap:
    name: {{ $d.customConfigMap }}
    optional: true
{{- end }}
{{- range $d.extraSecrets }}
- name: {{ .name }}
  secret:
    secretName: {{ .name }}
    {{- with .defaultMode }}
    defaultMode: {{ . }}
    {{- end }}
{{- end }}
{{- with $d.extraVolumes }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}
