{{/* What a schema cannot say, because it compares values. */}}
{{- define "api.check" -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
  {{- fail (printf "autoscaling.minReplicas is %d, above maxReplicas, %d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- /* 30s is what the program takes without one. */ -}}
{{- $answer := (.Values.config.http | default dict).request_timeout | default "30s" -}}
{{- if le (include "api.milliseconds" .Values.nginx.readTimeout | int64) (include "api.milliseconds" $answer | int64) -}}
  {{- fail (printf "nginx.readTimeout is %s, not above config.http.request_timeout, %s" .Values.nginx.readTimeout $answer) -}}
{{- end -}}
{{- end -}}

{{/* A duration such as `1m 30s` in milliseconds, with the names of units that Nginx and the programs take. */}}
{{- define "api.milliseconds" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+ ?[a-z]+" . -1 -}}
  {{- $unit := 0 -}}
  {{- if regexMatch "[0-9] ?m(s|sec|illis)$" . }}{{ $unit = 1 -}}
  {{- else if regexMatch "[0-9] ?s" . }}{{ $unit = 1000 -}}
  {{- else if regexMatch "[0-9] ?m(ins?|inutes?)?$" . }}{{ $unit = 60000 -}}
  {{- else if regexMatch "[0-9] ?h" . }}{{ $unit = 3600000 -}}
  {{- else if regexMatch "[0-9] ?[dwmy]" . }}{{ $unit = 86400000 -}}
  {{- end -}}
  {{- $sum = add $sum (mul $unit (regexFind "[0-9]+" . | int64)) -}}
{{- end -}}
{{- $sum -}}
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
