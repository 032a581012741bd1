{{/* What a schema cannot say, because it compares values. */}}
{{- define "api.check" -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
  {{- fail (printf "autoscaling.minReplicas is %d, above maxReplicas, %d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Both containers get the signal to stop at once, each after its own sleep. Nginx sleeps while endpoints drain, then ends its
answers; the api must be there as long as Nginx is, and then has its own bound twice: for answers, for the database's pool.
*/}}
{{- define "api.apiSleep" -}}
{{ add .Values.stop.endpointsSeconds .Values.stop.answersSeconds }}
{{- end -}}
{{- define "api.gracePeriod" -}}
{{ add (include "api.apiSleep" .) (mul 2 (int .Values.stop.answersSeconds)) 5 }}
{{- end -}}

{{/* Names of networkPolicy.egress that a pod needs. */}}
{{- define "api.egress" -}}
{{- $names := list "postgres" -}}
{{- if (.Values.config.database | default dict).secret }}{{ $names = append $names "aws" }}{{ end -}}
{{- if .Values.tracing.endpoint }}{{ $names = append $names "tracing" }}{{ end -}}
{{- include "shared.egress" (dict "root" . "names" $names) -}}
{{- end -}}
