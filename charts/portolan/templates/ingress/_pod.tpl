{{/* The flags of the controller. */}}
{{- define "portolan.controller.args" -}}
{{- $c := .Values.controller -}}
{{- $more := $c.extraArgs -}}
{{- if include "portolan.isCombined" . -}}
- serve
- --conf=/etc/coredns/Corefile
{{- if not .Values.dns.prometheus.legacyNames }}
- --legacy-metrics=false
{{- end }}
{{- range .Values.dns.extraArgs }}
- {{ regexReplaceAll "^-([^-].)" (toString .) "--${1}" | quote }}
{{- end }}
{{- else -}}
- /nginx-ingress-controller
{{- end }}
- --configmap={{ default "$(POD_NAMESPACE)" $c.configMapNamespace }}/{{ include "portolan.controller.fullname" . }}
- --controller-class={{ $c.ingressClassResource.controllerValue }}
{{- with $c.ingressClass }}
- --ingress-class={{ . }}
{{- end }}
{{- if and (ne ($c.containerPort.http | int) 80) (not (hasKey $more "http-port")) }}
- --http-port={{ $c.containerPort.http }}
{{- end }}
{{- if and (ne ($c.containerPort.https | int) 443) (not (hasKey $more "https-port")) }}
- --https-port={{ $c.containerPort.https }}
{{- end }}
{{- $publish := include "portolan.publishService" . }}
{{- if and $publish (not (hasKey $more "publish-service")) }}
- --publish-service={{ $publish }}
{{- end }}
{{- if not (hasKey $more "election-id") }}
- --election-id={{ include "portolan.electionID" . }}
{{- end }}
{{- with $c.electionTTL }}
- --election-ttl={{ . }}
{{- end }}
{{- if $c.disableLeaderElection }}
- --disable-leader-election=true
{{- end }}
{{- if $c.reportNodeInternalIp }}
- --report-node-internal-ip-address=true
{{- end }}
{{- if and $c.admissionWebhooks.enabled (not (hasKey $more "validating-webhook")) }}
- --validating-webhook=:{{ $c.admissionWebhooks.port }}
- --validating-webhook-configuration={{ include "portolan.admissionName" . }}
{{- end }}
{{- if ne .Values.secrets.mode "all" }}
- --secrets={{ .Values.secrets.mode }}
{{- end }}
{{- if not (hasKey $more "shutdown-grace-period") }}
- --shutdown-grace-period={{ $c.shutdownGracePeriod }}
{{- end }}
{{- if .Values.defaultBackend.enabled }}
- --default-backend-service=$(POD_NAMESPACE)/{{ include "portolan.defaultBackend.fullname" . }}
{{- end }}
{{- if .Values.tcp }}
- --tcp-services-configmap={{ default "$(POD_NAMESPACE)" $c.tcp.configMapNamespace }}/{{ include "portolan.fullname" . }}-tcp
{{- end }}
{{- if .Values.udp }}
- --udp-services-configmap={{ default "$(POD_NAMESPACE)" $c.udp.configMapNamespace }}/{{ include "portolan.fullname" . }}-udp
{{- end }}
{{- if $c.scope.enabled }}
- --watch-namespace={{ default "$(POD_NAMESPACE)" $c.scope.namespace }}
{{- else if $c.scope.namespaceSelector }}
- --watch-namespace-selector={{ $c.scope.namespaceSelector }}
{{- end }}
{{- with $c.healthCheckHost }}
- --healthz-host={{ . }}
{{- end }}
{{- if ne $c.healthCheckPath "/healthz" }}
- --health-check-path={{ $c.healthCheckPath }}
{{- end }}
{{- if and (ne ($c.metrics.port | int) 10254) (not (hasKey $more "healthz-port")) }}
- --healthz-port={{ $c.metrics.port }}
{{- end }}
{{- if $c.ingressClassByName }}
- --ingress-class-by-name=true
{{- end }}
{{- if $c.watchIngressWithoutClass }}
- --watch-ingress-without-class=true
{{- end }}
{{- if $c.enableTopologyAwareRouting }}
- --enable-topology-aware-routing=true
{{- end }}
{{- if $c.metrics.enabled }}
- --enable-metrics=true
{{- end }}
{{- range $name, $value := $more }}
{{- if kindIs "invalid" $value }}
- --{{ $name }}
{{- else if eq (toString $value) "" }}
- --{{ $name }}
{{- else }}
- {{ printf "--%s=%s" $name (toString $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether the Pods take ports of their node, so that two cannot run on one. */}}
{{- define "portolan.controller.takesNodePorts" -}}
{{- $isDns := and (include "portolan.isCombined" .) (include "portolan.dns.hostPorts" .) -}}
{{- if or .Values.controller.hostNetwork .Values.controller.hostPort.enabled $isDns }}true{{ end -}}
{{- end -}}

{{/* Whether a listener has a port below 1024. */}}
{{- define "portolan.controller.lowPorts" -}}
{{- $more := .Values.controller.extraArgs -}}
{{- $http := default .Values.controller.containerPort.http (get $more "http-port") | int -}}
{{- $https := default .Values.controller.containerPort.https (get $more "https-port") | int -}}
{{- $isDns := and (include "portolan.isCombined" .) (include "portolan.dns.lowPorts" .) -}}
{{- $isLow := or (lt $http 1024) (lt $https 1024) $isDns -}}
{{- range $services := list .Values.tcp .Values.udp -}}
{{- range $port, $target := $services -}}
{{- $isLow = or $isLow (lt (int $port) 1024) -}}
{{- end -}}
{{- end -}}
{{- if $isLow }}true{{ end -}}
{{- end -}}

{{- define "portolan.controller.containerSecurityContext" -}}
{{- $image := .Values.controller.image -}}
{{- if .Values.controller.containerSecurityContext -}}
{{- toYaml .Values.controller.containerSecurityContext -}}
{{- else -}}
runAsNonRoot: {{ $image.runAsNonRoot }}
runAsUser: {{ $image.runAsUser }}
runAsGroup: {{ $image.runAsGroup }}
{{- /* The capability in the container's and the file's permitted sets is enough, also with no_new_privs. */}}
allowPrivilegeEscalation: {{ $image.allowPrivilegeEscalation }}
{{- with $image.seccompProfile }}
seccompProfile: {{- toYaml . | nindent 2 }}
{{- end }}
capabilities:
  drop: [ALL]
  {{- /* Only for ports below 1024; the binary starts without it, too. */}}
  add: [NET_BIND_SERVICE]
readOnlyRootFilesystem: {{ $image.readOnlyRootFilesystem }}
{{- end -}}
{{- end -}}

{{- define "portolan.controller.podSecurityContext" -}}
{{- $c := .Values.controller -}}
{{- $sysctls := deepCopy $c.sysctls -}}
{{- if and (include "portolan.controller.lowPorts" .) (not $c.hostNetwork) (not (hasKey $sysctls "net.ipv4.ip_unprivileged_port_start")) -}}
{{- $_ := set $sysctls "net.ipv4.ip_unprivileged_port_start" "0" -}}
{{- end -}}
{{- $context := deepCopy $c.podSecurityContext -}}
{{- $list := default list $context.sysctls -}}
{{- range $name, $value := $sysctls -}}
{{- $list = append $list (dict "name" $name "value" (toString $value)) -}}
{{- end -}}
{{- if $list -}}{{- $_ := set $context "sysctls" $list -}}{{- end -}}
{{- if $context }}{{ toYaml $context }}{{ end -}}
{{- end -}}

{{/* A probe with the path and the port of the health page. Takes a list: probe, root. */}}
{{- define "portolan.controller.probe" -}}
{{- $probe := deepCopy (index . 0) -}}
{{- $c := (index . 1).Values.controller -}}
{{- with $probe.httpGet -}}
{{- if eq (toString .path) "/healthz" -}}{{- $_ := set . "path" $c.healthCheckPath -}}{{- end -}}
{{- if eq (toString .port) "10254" -}}{{- $_ := set . "port" (default $c.metrics.port (get $c.extraArgs "healthz-port") | int) -}}{{- end -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{- define "portolan.l4PortName" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.portNamePrefix }}{{ . }}-{{ end }}{{ index . 1 }}-{{ index . 2 }}
{{- end -}}

{{- define "portolan.controller.ports" -}}
{{- $c := .Values.controller -}}
{{- range $name, $port := $c.containerPort }}
- name: {{ $name }}
  containerPort: {{ $port }}
  protocol: TCP
  {{- if $c.hostPort.enabled }}
  hostPort: {{ default $port (get $c.hostPort.ports $name) }}
  {{- end }}
{{- end }}
{{- if $c.metrics.enabled }}
- name: {{ $c.metrics.portName }}
  containerPort: {{ default $c.metrics.port (get $c.extraArgs "healthz-port") }}
  protocol: TCP
{{- end }}
{{- if $c.admissionWebhooks.enabled }}
- name: webhook
  containerPort: {{ $c.admissionWebhooks.port }}
  protocol: TCP
{{- end }}
{{- range $protocol, $services := dict "tcp" .Values.tcp "udp" .Values.udp }}
{{- range $port, $target := $services }}
- name: {{ include "portolan.l4PortName" (list $ $port $protocol) }}
  containerPort: {{ $port }}
  protocol: {{ upper $protocol }}
  {{- if $c.hostPort.enabled }}
  hostPort: {{ $port }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The Pod template of the Deployment or DaemonSet. */}}
{{- define "portolan.controller.podTemplate" -}}
{{- $c := merge (dict "imagePullSecrets" .Values.imagePullSecrets) (deepCopy .Values.controller) -}}
{{- /* In combined mode, settings of the DNS server add to those of the controller. */}}
{{- if include "portolan.isCombined" . -}}
{{- $d := .Values.dns -}}
{{- $_ := set $c "podAnnotations" (merge (dict) $c.podAnnotations $d.podAnnotations $d.customAnnotations) -}}
{{- /* The server's own lookups must not be sent to it: its upstreams are those of the node. */}}
{{- $_ := set $c "dnsPolicy" (default $d.deployment.dnsPolicy $c.dnsPolicy) -}}
{{- $_ := set $c "dnsConfig" (default $d.deployment.dnsConfig $c.dnsConfig) -}}
{{- $_ := set $c "priorityClassName" (default $d.priorityClassName $c.priorityClassName) -}}
{{- $_ := set $c "tolerations" (concat $c.tolerations $d.tolerations | uniq) -}}
{{- $_ := set $c "imagePullSecrets" (concat .Values.imagePullSecrets $d.image.pullSecrets | uniq) -}}
{{- $_ := set $c "extraInitContainers" (concat $c.extraInitContainers $d.initContainers) -}}
{{- $_ := set $c "extraContainers" (concat $c.extraContainers $d.extraContainers) -}}
{{- $_ := set $c "extraEnvs" (concat $c.extraEnvs $d.env) -}}
{{- $_ := set $c "extraVolumes" (concat $c.extraVolumes (include "portolan.dns.volumes" . | fromYamlArray)) -}}
{{- $_ := set $c "extraVolumeMounts" (concat $c.extraVolumeMounts (include "portolan.dns.volumeMounts" . | fromYamlArray)) -}}
{{- end -}}
metadata:
  {{- with $c.podAnnotations }}
  annotations: {{- include "portolan.strings" . | nindent 4 }}
  {{- end }}
  labels: {{- ternary (include "portolan.dns.podLabels" .) (include "portolan.controller.podLabels" .) (eq .Values.mode "combined") | nindent 4 }}
spec:
  serviceAccountName: {{ include "portolan.serviceAccountName" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automountServiceAccountToken }}
  terminationGracePeriodSeconds: {{ $c.terminationGracePeriodSeconds }}
  dnsPolicy: {{ $c.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "ClusterFirst" $c.hostNetwork) }}
  {{- with $c.dnsConfig }}
  dnsConfig: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.hostAliases }}
  hostAliases: {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
  {{- with $c.hostname }}
  hostname: {{ . }}
  {{- end }}
  {{- if $c.hostNetwork }}
  hostNetwork: true
  {{- end }}
  {{- with $c.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $c.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- if $c.shareProcessNamespace }}
  shareProcessNamespace: true
  {{- end }}
  {{- with include "portolan.controller.podSecurityContext" . }}
  securityContext: {{- . | nindent 4 }}
  {{- end }}
  {{- with $c.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.affinity }}
  affinity: {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
  {{- with $c.topologySpreadConstraints }}
  topologySpreadConstraints: {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
  {{- with $c.extraInitContainers }}
  initContainers: {{- tpl (toYaml .) $ | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $c.containerName }}
      image: {{ include "portolan.controller.image" . }}
      imagePullPolicy: {{ default .Values.image.pullPolicy $c.image.pullPolicy }}
      args: {{- include "portolan.controller.args" . | nindent 8 }}
      env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        {{- with $c.extraEnvs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports: {{- include "portolan.controller.ports" . | nindent 8 }}
        {{- if include "portolan.isCombined" . }}
        {{- include "portolan.dns.containerPorts" . | nindent 8 }}
        {{- end }}
      {{- with $c.lifecycle }}
      lifecycle: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $c.startupProbe }}
      startupProbe: {{- include "portolan.controller.probe" (list . $) | nindent 8 }}
      {{- end }}
      {{- with $c.livenessProbe }}
      livenessProbe: {{- include "portolan.controller.probe" (list . $) | nindent 8 }}
      {{- end }}
      {{- with $c.readinessProbe }}
      readinessProbe: {{- include "portolan.controller.probe" (list . $) | nindent 8 }}
      {{- end }}
      {{- with $c.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $c.resizePolicy }}
      resizePolicy: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- include "portolan.controller.containerSecurityContext" . | nindent 8 }}
      {{- with $c.extraVolumeMounts }}
      volumeMounts: {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- with $c.extraContainers }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  {{- with $c.extraVolumes }}
  volumes: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
