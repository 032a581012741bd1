{{/* What a schema cannot say, because it compares values. */}}
{{- define "ingest.check" -}}
{{- $partitions := int .Values.kafka.partitions -}}
{{- if .Values.keda.enabled -}}
  {{- $most := int .Values.keda.maxReplicaCount | default $partitions -}}
  {{- if gt $most $partitions -}}
    {{- fail (printf "keda.maxReplicaCount is %d, but kafka.partitions is %d: a further worker would have nothing to do" $most $partitions) -}}
  {{- end -}}
  {{- if gt (int .Values.keda.minReplicaCount) $most -}}
    {{- fail (printf "keda.minReplicaCount is %d, but at most %d workers can run" (int .Values.keda.minReplicaCount) $most) -}}
  {{- end -}}
  {{- if and (hasPrefix "sasl" (include "ingest.protocol" .)) (not .Values.keda.authenticationRef) -}}
    {{- fail "keda.authenticationRef is needed: KEDA logs in to Kafka too" -}}
  {{- end -}}
{{- else if gt (int .Values.replicaCount) $partitions -}}
  {{- fail (printf "replicaCount is %d, but kafka.partitions is %d: a further worker would have nothing to do" (int .Values.replicaCount) $partitions) -}}
{{- end -}}
{{- end -}}

{{- define "ingest.kafka" -}}
{{ .Values.config.kafka | default dict | toJson }}
{{- end -}}

{{- define "ingest.protocol" -}}
{{ (include "ingest.kafka" . | fromJson).security_protocol | default "plaintext" }}
{{- end -}}

{{/* Names of networkPolicy.egress that a worker needs. */}}
{{- define "ingest.egress" -}}
{{- $names := list "postgres" "kafka" -}}
{{- if (include "ingest.kafka" . | fromJson).schema_registry_url }}{{ $names = append $names "schemaRegistry" }}{{ end -}}
{{- if (.Values.config.database | default dict).secret }}{{ $names = append $names "aws" }}{{ end -}}
{{- if .Values.tracing.endpoint }}{{ $names = append $names "tracing" }}{{ end -}}
{{- include "shared.egress" (dict "root" . "names" $names) -}}
{{- end -}}

{{- define "ingest.migrateAccount" -}}
{{- $account := .Values.migrate.serviceAccount -}}
{{ $account.name | default (ternary (printf "%s-migrate" (include "shared.fullname" .)) "default" $account.create) }}
{{- end -}}

{{/* What the Job needs is a hook of lower weight: at an install nothing else is there yet. */}}
{{- define "ingest.beforeMigrate" -}}
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: "-10"
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
