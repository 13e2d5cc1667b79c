{{- define "atlas-gateway.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "atlas-gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "atlas-gateway.labels" -}}
{{ include "atlas-gateway.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "atlas-gateway.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "atlas-gateway.name" .) }}
{{- end }}

{{- define "atlas-gateway.image" -}}
{{- $repository := required "image.repository is required: the project has no public registry, make image builds an image for yours" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion | required "image.tag or image.digest is required" }}
{{- end -}}
{{- end }}

{{/* journal is config.creates.journal with the gateway's default. */}}
{{- define "atlas-gateway.journal" -}}
{{ dig "creates" "journal" "" .Values.config | default "file" }}
{{- end }}

{{/* audit is config.audit.file where it is a file, which needs a volume. */}}
{{- define "atlas-gateway.audit" -}}
{{- $file := dig "audit" "file" "" .Values.config -}}
{{- if not (has $file (list "" "-" "stderr")) -}}
{{ $file }}
{{- end -}}
{{- end }}

{{/* port is that of config.<section>.address, which other pods must reach. */}}
{{- define "atlas-gateway.port" -}}
{{- $address := dig .section "address" "" .config | toString -}}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\])" $address -}}
{{- fail (printf "config.%s.address: %s is reached from nowhere outside of the pod" .section $address) -}}
{{- end -}}
{{ regexFind "[0-9]+$" $address | required (printf "config.%s.address must end in a port" .section) }}
{{- end }}

{{/* seconds is a time such as 1m30s as a number of seconds: Helm 3 has no function for it. */}}
{{- define "atlas-gateway.seconds" -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|h|m|s)" (toString .) -1 -}}
{{- $unit := regexReplaceAll "[0-9.]" . "" -}}
{{- $seconds = addf $seconds (mulf (regexFind "[0-9.]+" . | float64) (get (dict "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001) $unit)) -}}
{{- end -}}
{{ $seconds }}
{{- end }}

{{/*
grace is how many seconds a shutdown may take: drain and shutdown, and 5 s for the rest. Where one of
the two is 0, the gateway has its default.
*/}}
{{- define "atlas-gateway.grace" -}}
{{- $timeouts := .Values.config.timeouts | default dict -}}
{{- $drain := include "atlas-gateway.seconds" $timeouts.drain | float64 | default 3.0 -}}
{{- $shutdown := include "atlas-gateway.seconds" $timeouts.shutdown | float64 | default 75.0 -}}
{{ addf $drain $shutdown 5.0 | ceil | int }}
{{- end }}

{{/*
restart is a sum of the settings that a reload can't change. The other settings are read in place,
and no pod is replaced for them.
*/}}
{{- define "atlas-gateway.restart" -}}
{{- $fixed := list
  "listener.address" "listener.tls_cert_file" "listener.tls_key_file" "listener.allow_plain_http"
  "listener.client_address"
  "management.address"
  "limits.request_header" "limits.connections"
  "timeouts.header" "timeouts.request" "timeouts.upstream" "timeouts.idle" "timeouts.drain" "timeouts.shutdown"
  "creates.journal" "creates.file" "creates.postgres_url_file" "creates.postgres_url_env" "creates.wait"
  "audit.file" "audit.required"
  "tracing.endpoint" "tracing.ca_file" "tracing.headers_file" "tracing.timeout" "tracing.sample" "tracing.trust_traceparent"
  "tracing.service_name" "tracing.resource_attributes"
  "log.level" "log.format"
-}}
{{- $values := dict -}}
{{- range $fixed -}}
{{- $path := splitList "." . -}}
{{- $_ := set $values . (dig (index $path 0) (index $path 1) "" $.Values.config) -}}
{{- end -}}
{{ $values | toJson | sha256sum }}
{{- end }}

{{/*
claim is a volume claim that stays when the release is removed: without the journal, a repeated create
may be sent again, and the audit stream is there to be read later.
*/}}
{{- define "atlas-gateway.claim" }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "atlas-gateway.name" .root }}-{{ .for }}
  labels:
    {{- include "atlas-gateway.labels" .root | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  accessModes: [{{ .claim.accessMode }}]
  {{- with .claim.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests: {storage: {{ .claim.size }}}
{{- end }}

{{/* checks refuses what the gateway could not know. */}}
{{- define "atlas-gateway.checks" -}}
{{- $journal := include "atlas-gateway.journal" . -}}
{{- if and (gt (int .Values.replicas) 1) (eq $journal "file") -}}
{{- fail (printf "replicas: %d replicas with a journal in a file each may send the same create to Atlas. Set config.creates.journal: postgres and postgres_url_file, or one replica" (int .Values.replicas)) -}}
{{- end -}}
{{- $file := dig "creates" "file" "" .Values.config -}}
{{- if and $file (not (hasPrefix "/var/lib/atlas-gateway/" $file)) -}}
{{- fail "config.creates.file must be below /var/lib/atlas-gateway, where the volume is" -}}
{{- end -}}
{{- with include "atlas-gateway.audit" . -}}
{{- if not (hasPrefix "/var/log/atlas-gateway/" .) -}}
{{- fail "config.audit.file must be stderr, or below /var/log/atlas-gateway, where the volume is" -}}
{{- end -}}
{{- if and (ne $journal "file") (not $.Values.audit.existingClaim) (ne $.Values.audit.accessMode "ReadWriteMany") -}}
{{- fail "config.audit.file: pods run at the same time, so that the volume needs audit.accessMode: ReadWriteMany; stderr needs no volume" -}}
{{- end -}}
{{- end -}}
{{- end }}
