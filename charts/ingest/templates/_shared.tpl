{{/*
What both charts need. charts/ingest and charts/api hold the same file, so that each installs on its own;
testbed/ops/charts.sh compares them.
*/}}

{{/* 55 characters: names of Services and Jobs have at most 63, and "-metrics" and "-migrate" are ours. */}}
{{- define "shared.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | replace "." "-" | trunc 55 | trimAll "-" -}}
{{- end -}}

{{/* A label's value: at most 63 characters of a small set, with a letter or digit at both ends. */}}
{{- define "shared.labelValue" -}}
{{- $safe := regexReplaceAll "[^A-Za-z0-9_.-]+" (toString .) "_" | trunc 63 -}}
{{- regexReplaceAll "^[^A-Za-z0-9]+|[^A-Za-z0-9]+$" $safe "" -}}
{{- end -}}

{{/* (dict "root" $ "component" "worker"): never changed once installed, as a Deployment's selector cannot change. */}}
{{- define "shared.selector" -}}
app.kubernetes.io/name: {{ include "shared.labelValue" (.root.Values.nameOverride | default .root.Chart.Name) }}
app.kubernetes.io/instance: {{ include "shared.labelValue" .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "shared.labels" -}}
{{ include "shared.selector" . }}
app.kubernetes.io/version: {{ include "shared.labelValue" (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
app.kubernetes.io/part-of: financial-data-api
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ include "shared.labelValue" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) }}
{{- end -}}

{{- define "shared.podLabels" -}}
{{ include "shared.labels" . }}
{{- with .root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "image" .Values.image) */}}
{{- define "shared.image" -}}
{{- with .image.registry }}{{ . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end -}}

{{- define "shared.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "shared.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* What makes a pod fit a namespace that enforces `restricted`; not a value, so that no value can undo it. */}}
{{- define "shared.podSecurity" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* The argument is the numeric user. */}}
{{- define "shared.containerSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Where pods are placed: what the values say, the same for all pods. */}}
{{- define "shared.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "component" "worker") */}}
{{- define "shared.topologySpread" -}}
{{- with .root.Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    # Pods of the old and the new version are spread apart from one another.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "shared.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "secretEnv" … "extraEnv" …) */}}
{{- define "shared.env" -}}
{{- with .root.Values.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .root.Values.aws.endpointUrl }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- with .root.Values.tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- range $name, $from := .secretEnv }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "config" "name of the ConfigMap") */}}
{{- define "shared.volumes" -}}
- name: config
  configMap:
    name: {{ .config }}
{{- range $what, $from := .root.Values.caFiles }}
{{- if or $from.configMap $from.secret }}
- name: ca-{{ $what }}
  {{- if $from.configMap }}
  configMap:
    name: {{ $from.configMap }}
  {{- else }}
  secret:
    secretName: {{ $from.secret }}
  {{- end }}
    items:
      - key: {{ $from.key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{- define "shared.volumeMounts" -}}
- name: config
  mountPath: /etc/financial-data
  readOnly: true
{{- range $what, $from := .Values.caFiles }}
{{- if or $from.configMap $from.secret }}
- name: ca-{{ $what }}
  mountPath: /etc/financial-data-ca/{{ $what }}
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{/* The three probes of a container that has an admin port. */}}
{{- define "shared.probes" -}}
# Has it started? Only then do the others count.
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 2
  failureThreshold: 30
# Is it stuck? Then a restart helps. A database that is away does not make it so.
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
# Can it work now?
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* (dict "to" … "ports" …): one rule of a NetworkPolicy's egress; no peers means any. */}}
{{- define "shared.egressRule" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* (dict "root" $ "names" (list "postgres" "aws")): the names of networkPolicy.egress that a pod needs. */}}
{{- define "shared.egress" -}}
{{- $egress := .root.Values.networkPolicy.egress -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with $egress.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- range .names }}
{{ include "shared.egressRule" (index $egress .) }}
{{- end }}
{{- if has "aws" .names }}
# The agent of EKS Pod Identity, on the node's link-local address.
- ports:
    - {protocol: TCP, port: 80}
  to:
    - ipBlock: {cidr: 169.254.170.23/32}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "component" … "port" 9101): the admin port for Prometheus, ready or not, apart from what users reach. */}}
{{- define "shared.metricsService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "shared.fullname" .root }}-metrics
  labels:
    {{- include "shared.labels" (dict "root" .root "component" "metrics") | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "shared.selector" . | nindent 4 }}
  ports:
    - name: metrics
      port: {{ .port }}
      targetPort: admin
{{- end -}}

{{/* (dict "root" $ "component" …) */}}
{{- define "shared.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "shared.fullname" .root }}
  labels:
    {{- include "shared.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .root.Values.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready serves nobody: a drain need not wait for it.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "shared.selector" . | nindent 6 }}
{{- end -}}

{{/* `job` is the chart's name whatever the release is called: rules and panels ask for it. */}}
{{- define "shared.serviceMonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "shared.fullname" . }}
  labels:
    {{- include "shared.labels" (dict "root" . "component" "metrics") | nindent 4 }}
    {{- with .Values.serviceMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "shared.selector" (dict "root" . "component" "metrics") | nindent 6 }}
  endpoints:
    - port: metrics
      path: /metrics
      interval: {{ .Values.serviceMonitor.interval }}
      scrapeTimeout: {{ .Values.serviceMonitor.scrapeTimeout }}
      relabelings:
        - targetLabel: job
          replacement: {{ .Chart.Name }}
{{- end -}}

{{/* One PrometheusRule a file of rules/, as it stands there. */}}
{{- define "shared.prometheusRules" -}}
{{- range $path, $_ := .Files.Glob "rules/*.yaml" }}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "shared.fullname" $ }}-{{ base $path | trimSuffix ".yaml" }}
  labels:
    {{- include "shared.labels" (dict "root" $ "component" "rules") | nindent 4 }}
    {{- with $.Values.prometheusRule.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- $.Files.Get $path | replace "runbook_url: " (print "runbook_url: " $.Values.prometheusRule.runbooks) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* One ConfigMap a file of dashboards/, for Grafana's sidecar. */}}
{{- define "shared.dashboards" -}}
{{- range $path, $_ := .Files.Glob "dashboards/*.json" }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "shared.fullname" $ }}-{{ base $path | trimSuffix ".json" }}
  labels:
    {{- include "shared.labels" (dict "root" $ "component" "dashboards") | nindent 4 }}
    {{- with $.Values.dashboards.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $.Values.dashboards.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  {{ base $path }}: |
    {{- $.Files.Get $path | nindent 4 }}
{{- end }}
{{- end -}}
